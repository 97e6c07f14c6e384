"""From the chances before steps to the values before and after each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainers.credit.arrays import FloatArray


def step_values(chances: Sequence[Sequence[float]], outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the values after and before each step, shape (N,) both.

    Args:
        chances: Chance of a right answer before each step of each rollout; NaN where it is not known.
        outcomes: r_v of each rollout, shape (B,): the value after its last step.
    """
    after = [[*row[1:], outcome] for row, outcome in zip(chances, outcomes.tolist(), strict=True) if row]
    flat = [np.array([value for row in rows for value in row], dtype=np.float64) for rows in (after, chances)]
    return flat[0], flat[1]
