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

SHARES = ("truncated", "groups_without_signal", "single_step_responses")
"""Shares in a step's record."""


@dataclass(frozen=True)
class Health:
    """Training of one variant, all its seeds together; a share that no step recorded is None.

    Attributes:
        steps: Steps that recorded the norm of their gradient.
        still: Those of them whose gradient was 0.
        truncated: Share of rollouts cut at the token limit.
        groups_without_signal: Share of groups in which all advantages were 0.
        single_step_responses: Share of rollouts of at most one step.
    """

    steps: int
    still: int
    truncated: float | None
    groups_without_signal: float | None
    single_step_responses: float | None


def read_health(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return what the step records of a trial say of its health, by name: a number for each step that recorded one."""
    values: dict[str, list[float]] = {name: [] for name in ("grad_norm", *SHARES)}
    for record in records:
        shares = dict(record)
        if shares.get("groups_without_outcome_signal") is not None:
            process_only = shares.get("groups_process_signal_only") or 0.0
            shares["groups_without_signal"] = max(0.0, shares["groups_without_outcome_signal"] - process_only)
        for name, recorded in values.items():
            if shares.get(name) is not None:
                recorded.append(float(shares[name]))
    return values


def average_health(runs: Iterable[Mapping[str, Sequence[float]]]) -> Health | None:
    """Return the health of the trials of a variant, given `read_health` of each; None where nothing was trained."""
    together: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, values in run.items():
            together[name] += values
    if not any(together.values()):
        return None
    norms = together["grad_norm"]
    shares = {name: fmean(together[name]) if together[name] else None for name in SHARES}
    return Health(steps=len(norms), still=sum(norm == 0 for norm in norms), **shares)


def has_collapsed(curve: Sequence[float]) -> bool:
    """Whether outcomes, one a step, ended below `COLLAPSE` of their best: running means over a tenth of the steps."""
    if not curve:
        return False
    window = max(1, len(curve) // 10)
    smooth = np.convolve(curve, np.full(window, 1 / window), "valid")
    return bool(smooth[-1] < COLLAPSE * smooth.max())
