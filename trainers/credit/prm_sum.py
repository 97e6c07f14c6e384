"""Sum credit of a process reward model: a token answers for its step and all that follow, added up.

Source: GRPO with process supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3). The reward of a step is its
score, u_{i,s} = p_{i,s}, the probability that it is right; normalisation, the sum over the steps that follow, and how
the outcome enters stand in `trainers.credit.scored`. There is no discount. A score of the middle of the group is worth
nothing, so that neither more nor fewer steps pay by themselves; yet a long row of steps that the model likes outweighs
a wrong one among them, which is what `prm_min` is against.
"""

from __future__ import annotations

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.scored import scored
from trainers.credit.terms import Terms


def prm_sum(batch: Batch, terms: Terms) -> Earned:
    """Add up the scores of a token's step and of those that follow."""
    return scored(batch, terms, as_scored)


def as_scored(scores: FloatArray) -> FloatArray:
    """Return the scores as the rewards of their steps."""
    return scores
