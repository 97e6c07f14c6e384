"""Compute advantages from the scores of steps.

A method defines the reward u_{i,s} of a step from the scores (`StepRewards`). The rest is GRPO's process supervision
(DeepSeekMath, arXiv 2402.03300, section 4.1.3). The rewards are normalised over all scored steps of all rollouts of the
group, and a token's advantage is the sum over its step and the following steps:

    ũ_{i,s} = (u_{i,s} − mean u) / std u          process_{i,t} = Σ_{s ≥ s(t)} ũ_{i,s}

Process supervision has no outcome reward. The outcome is added as a separate advantage, as in PURE (arXiv 2504.15275)
and PRIME (arXiv 2502.01456); here it is GRPO's:

    A_{i,t} = W_whole · (r_i − mean r) / std r + process_{i,t}

With W_whole = 0 this is the method of the source. Standard deviations are those of the population; where one is 0, its
part is 0. A rollout without scores has only the outcome's part and does not affect the moments of the process part. A
rollout whose answer could not be verified has only the process part and does not affect the moments of the outcome.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainers.credit.advantages import compute_response_advantages, group_table_moments, normalise
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned, Layout
from trainers.credit.terms import Terms

StepRewards = Callable[[FloatArray], FloatArray]
"""From the scores of one rollout's steps, each in [0, 1], to the rewards of these steps, shape (steps,) each."""


def compute_scored_advantages(batch: Batch, terms: Terms, rewards: StepRewards) -> Earned:
    """Return the advantages of a batch whose steps are scored by a process reward model.

    Args:
        batch: Rollouts with scores.
        terms: The weight of the outcome.
        rewards: The method's rewards of the steps of a rollout, from their scores.
    """
    layout, group_size = batch.layout, batch.group_size
    table = reward_table(batch.evidence.scores, layout, rewards)
    steps = normalise(table, *group_table_moments(table, group_size))
    process = layout.flat(sum_following(steps))
    whole = compute_response_advantages(batch.outcomes, group_size)[layout.owner]
    return Earned(terms.w_whole * whole + process, layout.flat(table))


def reward_table(scores: FloatArray | None, layout: Layout, rewards: StepRewards) -> FloatArray:
    """Return the rewards of the steps of B rollouts, shape (B, S); NaN where there is no step or no score."""
    table = np.full((len(layout.steps), int(layout.steps.max(initial=1))), np.nan)
    if scores is not None:
        for row, (start, count) in enumerate(zip(layout.starts.tolist(), layout.steps.tolist(), strict=True)):
            own = scores[start : start + count]
            if count and not np.isnan(own).any():
                table[row, :count] = rewards(own)
    return table


def sum_following(rewards: FloatArray) -> FloatArray:
    """Return for each step the sum of its reward and the rewards of the following steps, along the last axis."""
    return np.asarray(np.flip(np.cumsum(np.flip(rewards, axis=-1), axis=-1), axis=-1))
