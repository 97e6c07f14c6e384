"""What can go wrong in training and does not show in a mean: no gradient, cut rollouts, no signal, collapse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

COLLAPSE = 0.5
"""A seed has collapsed where it ends below this share of the start's primary metric, or of its own best outcome."""

SHARES = {
    "truncated": "cut",
    "groups_without_signal": "silent",
    "single_step_responses": "single",
}
"""A share in a step's record to its name in `Health`."""


@dataclass(frozen=True)
class Health:
    """Training of one variant, all its seeds together; a share that no step recorded is None.

    Attributes:
        steps: Steps that recorded the norm of their gradient.
        still: Those of them whose gradient was 0.
        cut: Share of rollouts cut at the token limit.
        silent: Share of groups in which all advantages were 0.
        single: Share of rollouts of at most one step.
    """

    steps: int
    still: int
    cut: float | None
    silent: float | None
    single: float | None


def read_health(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return what the step records of a trial say of its health, by name: a number for each step that recorded one."""
    values: dict[str, list[float]] = {"grad_norm": [], **{name: [] for name in SHARES.values()}}
    for record in records:
        shares = dict(record)
        if shares.get("groups_without_outcome_signal") is not None:
            process_only = shares.get("groups_process_signal_only") or 0.0
            shares["groups_without_signal"] = max(0.0, shares["groups_without_outcome_signal"] - process_only)
        for key, name in {"grad_norm": "grad_norm", **SHARES}.items():
            if shares.get(key) is not None:
                values[name].append(float(shares[key]))
    return values


def health_of(runs: Iterable[Mapping[str, Sequence[float]]]) -> Health | None:
    """Return the health of the trials of a variant, given `read_health` of each; None where nothing was trained."""
    together: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, values in run.items():
            together[name] += values
    if not any(together.values()):
        return None
    norms = together["grad_norm"]
    shares = {name: fmean(together[name]) if together[name] else None for name in SHARES.values()}
    return Health(steps=len(norms), still=sum(norm == 0 for norm in norms), **shares)


def fell(curve: Sequence[float]) -> bool:
    """Whether outcomes, one a step, ended below `COLLAPSE` of their best: running means over a tenth of the steps."""
    if not curve:
        return False
    window = max(1, len(curve) // 10)
    smooth = np.convolve(curve, np.full(window, 1 / window), "valid")
    return bool(smooth[-1] < COLLAPSE * smooth.max())
