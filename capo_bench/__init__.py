"""A benchmark harness for fine-grained credit: how much a critic improves a reasoning model, and at what cost.

Results are available in notebooks and scripts:

    import capo_bench as cb
    study = cb.load("voting")
    study.metrics.groupby(["variant", "metric"])["value"].mean()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from capo_bench.notebook import StudyResults


def load(study: str | Path, profile: str = "quick", **options: Any) -> StudyResults:
    """Return a study's results, for notebooks and scripts; see `capo_bench.notebook.load`."""
    from capo_bench import notebook

    return notebook.load(study, profile, **options)
