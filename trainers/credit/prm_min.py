"""Min credit of a process reward model: the worst step of a solution determines its value.

Source: PURE (arXiv 2504.15275). Let v_s = 2 p_s − 1 in [−1, 1] be the value of a step's score, and w the worst step.
The return of step s is min(v_s, …, v_n) for s ≤ w, and 0 after w: the value of a solution is that of its worst step,
and later steps add nothing. The paper obtains this return as an ordinary sum over the following steps of transformed
rewards:

    u_s = v_s · exp(−v_s / T) / Σ_j exp(−v_j / T)

The sum equals that return for T → 0 (`prm.temperature: null`, with the first of equal minima), and is close to it for
the paper's T = 0.1.

One part is not the paper's: its baseline is the mean of the other rollouts (RLOO), without division by the standard
deviation. Here normalisation and outcome are those of `trainers.credit.scored`, so that this method and `prm_sum`
differ in the form of credit alone.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.scored import compute_scored_advantages
from trainers.credit.terms import Terms


def prm_min(batch: Batch, terms: Terms) -> Earned:
    """Return advantages in which the worst step determines the value of the steps up to it."""
    return compute_scored_advantages(batch, terms, partial(weigh_worst, temperature=terms.temperature))


def weigh_worst(scores: FloatArray, temperature: float | None) -> FloatArray:
    """Return the rewards of steps, in which the worst step has the largest weight, shape (steps,).

    Args:
        scores: Probability that each step is right, shape (steps,).
        temperature: T; None for its limit of 0.
    """
    values = 2 * scores - 1
    if temperature is None:
        return np.where(np.arange(len(values)) == values.argmin(), values, 0.0)
    weights = np.exp((values.min() - values) / temperature)
    return np.asarray(values * weights / weights.sum())
