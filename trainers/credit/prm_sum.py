"""Sum credit of a process reward model: a token's credit is the sum over its step and all following steps.

Source: GRPO with process supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3). The reward of a step is its
score, u_{i,s} = p_{i,s}, the probability that the step is right. `trainers.credit.scored` defines the normalisation,
the sum over the following steps, and how the outcome is added. There is no discount. A score equal to the group's mean
contributes 0, so the number of steps has no effect by itself. However, many steps with high scores outweigh one wrong
step among them; `prm_min` avoids this.
"""

from __future__ import annotations

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.scored import compute_scored_advantages
from trainers.credit.terms import Terms


def prm_sum(batch: Batch, terms: Terms) -> Earned:
    """Return advantages that sum the scores of a token's step and of the following steps."""
    return compute_scored_advantages(batch, terms, take_scores)


def take_scores(scores: FloatArray) -> FloatArray:
    """Return the scores as the rewards of their steps."""
    return scores
