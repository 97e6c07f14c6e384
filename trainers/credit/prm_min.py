"""Min credit of a process reward model: the worst of a solution's steps says what it is worth.

Source: PURE (arXiv 2504.15275). With v_s = 2 p_s − 1 in [−1, 1] of a step's score, and w the worst step, the return of
step s is min(v_s, …, v_n) for s ≤ w, and 0 after it: the value of a solution is that of its worst step, and what comes
after that adds nothing. The paper gets it as an ordinary sum over the steps that follow, of transformed rewards

    u_s = v_s · exp(−v_s / T) / Σ_j exp(−v_j / T)

which is that return for T → 0 (`prm.temperature: null`, the first of equal minima) and near it for the paper's T = 0.1.

Not the paper's: its baseline is the mean of the other rollouts (RLOO), without division by the spread. Normalisation
and outcome are here those of `trainers.credit.scored`, so that this method and `prm_sum` differ in the form of credit
alone.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.scored import scored
from trainers.credit.terms import Terms


def prm_min(batch: Batch, terms: Terms) -> Earned:
    """Let the worst step say what the steps up to it are worth."""
    return scored(batch, terms, partial(worst_weighed, temperature=terms.temperature))


def worst_weighed(scores: FloatArray, temperature: float | None) -> FloatArray:
    """Return the rewards of steps of which the worst has the most weight, shape (steps,).

    Args:
        scores: Probability that each step is right, shape (steps,).
        temperature: T; None for its limit of 0.
    """
    values = 2 * scores - 1
    if temperature is None:
        return np.where(np.arange(len(values)) == values.argmin(), values, 0.0)
    weights = np.exp((values.min() - values) / temperature)
    return np.asarray(values * weights / weights.sum())
