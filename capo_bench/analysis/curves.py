"""How training went: outcome by step, and against what training had spent by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capo_bench.analysis.stats import Matrix

if TYPE_CHECKING:
    from capo_bench.analysis.collect import Run

AXES = {
    "steps": "optimizer step",
    "seconds": "wall seconds of training",
    "policy_tokens": "tokens sampled by the policy",
    "total_tokens": "tokens of policy and critic, prompts included (the critic's weighed by its size)",
    "train_flops": "floating-point operations (estimate)",
}
"""What training spends, along which curves of unlike methods can be compared, and its label."""


def sum_spending(steps: Sequence[Mapping[str, Any]]) -> dict[str, Matrix]:
    """Return the spending up to and with each step, shape (steps,) each; an axis that any record lacks is left out."""
    spending = {"steps": np.arange(1, len(steps) + 1, dtype=np.float64)}
    for name in list(AXES)[1:]:
        if all(step.get(name) is not None for step in steps):
            spending[name] = np.cumsum([float(step[name]) for step in steps])
    return spending


@dataclass(frozen=True)
class Curve:
    """A variant's training, cut to its shortest run.

    Attributes:
        outcome: Outcome reward, shape (seeds, steps).
        spent: Axis of `AXES` to what had been spent by then, each of the same shape; only axes that all runs have.
    """

    outcome: Matrix
    spent: Mapping[str, Matrix]

    @property
    def window(self) -> int:
        """Steps of a running mean: a tenth of all."""
        return max(1, int(self.outcome.shape[1]) // 10)

    def smooth(self) -> Matrix:
        """Return the running mean of the outcome, shape (seeds, points)."""
        return average_over_window(self.outcome, self.window)

    def against(self, axis: str) -> Matrix:
        """Return the mean spending over seeds at the last step of each running mean, shape (points,)."""
        return np.asarray(self.spent[axis][:, self.window - 1 :].mean(axis=0))


def build_curve(runs: Mapping[int, Run]) -> Curve | None:
    """Return the curve of the runs that recorded outcomes; None where there is none."""
    trained = [run for run in runs.values() if run.curve]
    if not trained:
        return None
    length = min(len(run.curve) for run in trained)

    def rows(of: Sequence[Sequence[float]]) -> Matrix:
        return np.array([row[:length] for row in of], dtype=np.float64)

    common = [name for name in AXES if all(name in run.spent for run in trained)]
    return Curve(
        rows([run.curve for run in trained]), {name: rows([run.spent[name] for run in trained]) for name in common}
    )


def average_over_window(curve: Matrix, window: int) -> Matrix:
    """Average each row over `window` neighbouring steps; a row shorter than that becomes its mean."""
    window = min(window, curve.shape[1])
    sums = np.cumsum(np.pad(curve, ((0, 0), (1, 0))), axis=1)
    smooth: Matrix = (sums[:, window:] - sums[:, :-window]) / window
    return smooth
