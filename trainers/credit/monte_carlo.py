"""Monte Carlo credit: the advantage of a step is its change of the probability of a right answer.

Source: VinePPO (arXiv 2410.01679): A_{i,s} = Q_{i,s} − Q_{i,s−1}, where Q is the mean outcome of K continuations that
the policy samples after the step (K = 9 in the paper; `values.samples`). This estimate is unbiased. After the last
step, Q is the outcome. There is no reward within a solution and no discount, so a step's advantage is the difference of
two values. All tokens of a step have the same advantage, and nothing is normalised. We read the paper's abstract and
summaries of the work, not its equations. `oracle` is the same method with so many continuations that the estimates have
little noise (`values.oracle_samples`): it is the upper bound of what credit assignment can achieve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def monte_carlo(batch: Batch, terms: Terms) -> Earned:
    """Return the differences of values; 0 where a value was not estimated."""
    values, before = batch.evidence.given("values"), batch.evidence.given("before")
    return Earned(np.nan_to_num(values - before), values)


def list_step_values(chances: Sequence[Sequence[float]], outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the values after and before each step, shape (N,) each.

    Args:
        chances: Probability of a right answer before each step of each rollout; NaN where it is unknown.
        outcomes: r_v of each rollout, shape (B,): the value after its last step.
    """
    after = [[*row[1:], outcome] for row, outcome in zip(chances, outcomes.tolist(), strict=True) if row]
    flat = [np.array([value for row in rows for value in row], dtype=np.float64) for rows in (after, chances)]
    return flat[0], flat[1]
