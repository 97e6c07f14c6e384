"""A benchmark harness for fine-grained credit: how much a critic improves a reasoning model, and at what cost.

Results are available in notebooks and scripts:

    import capo_bench as cb
    study = cb.load("voting")
    study.metrics.groupby(["variant", "metric"])["value"].mean()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capo_bench.notebook import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` when it is first used, so that the command line starts without pandas.

    Raises:
        AttributeError: There is no such name.
    """
    if name == "load":
        from capo_bench.notebook import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
