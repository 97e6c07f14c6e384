"""Monte Carlo credit: a step is worth what it changes of the chance of a right answer.

Source: VinePPO (arXiv 2410.01679): A_{i,s} = Q_{i,s} − Q_{i,s−1}, with Q the mean outcome of K continuations that the
policy samples from there (K = 9 in the paper; `values.samples`), which is unbiased. After the last step Q is the
outcome. There is no reward within a solution and no discount, so that a step's advantage is the difference of values
alone; all tokens of a step have one, and nothing is normalised. The paper's abstract was read, and how the work is
commonly told, not its equations. `oracle` is the same with so many continuations that little of it is noise
(`values.oracle_samples`): the upper bound of what credit can do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def monte_carlo(batch: Batch, terms: Terms) -> Earned:
    """Return the differences of values; 0 where one of them was not counted."""
    values, before = batch.evidence.given("values"), batch.evidence.given("before")
    return Earned(np.nan_to_num(values - before), values)


def step_values(chances: Sequence[Sequence[float]], outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the values after and before each step, shape (N,) both.

    Args:
        chances: Chance of a right answer before each step of each rollout; NaN where it is not known.
        outcomes: r_v of each rollout, shape (B,): the value after its last step.
    """
    after = [[*row[1:], outcome] for row, outcome in zip(chances, outcomes.tolist(), strict=True) if row]
    flat = [np.array([value for row in rows for value in row], dtype=np.float64) for rows in (after, chances)]
    return flat[0], flat[1]
