"""From the scores of steps to advantages of tokens. Pure: arrays in, arrays out.

A method says what reward u_{i,s} a step's scores make (`StepRewards`); the rest is GRPO's process supervision
(DeepSeekMath, arXiv 2402.03300, section 4.1.3). The rewards are normalised over all steps of all rollouts of the group
that were scored, and a token's advantage is the sum over its step and those that follow:

    ũ_{i,s} = (u_{i,s} − mean u) / std u          process_{i,t} = Σ_{s ≥ s(t)} ũ_{i,s}

What process supervision leaves out, the outcome, is added as an advantage of its own, as PURE (arXiv 2504.15275) and
PRIME (arXiv 2502.01456) add theirs, here GRPO's:

    A_{i,t} = W_whole · (r_i − mean r) / std r + process_{i,t}

With W_whole = 0 it is the source's. Standard deviations are of the population; where one is nil, its part is 0. A
rollout without scores has the outcome's part alone and no say in the moments of the other, one whose answer could not
be verified the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trainers.credit.advantages import completion_stats, group_moments, normalise
from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.assign import process_signal_only
from trainers.credit.rewards import token_charges

StepRewards = Callable[[FloatArray], FloatArray]
"""From the scores of one rollout's steps, each in [0, 1], to the rewards of these steps, shape (steps,) both."""

Share = Callable[[FloatArray], tuple[FloatArray, slice]]
"""From what a process knows of its rollouts to the same of all processes' rollouts, and which of them are its own."""


@dataclass(frozen=True)
class ScoreRule:
    """How scores become advantages.

    Attributes:
        rewards: What the method makes of a rollout's scores.
        w_whole: Weight of the outcome.
        group_size: G.
    """

    rewards: StepRewards
    w_whole: float
    group_size: int


@dataclass(frozen=True)
class Returns:
    """What a batch of scored rollouts has earned.

    Attributes:
        rewards: u of every step, shape (B, S); NaN where there is no step, or no score.
        advantages: Of every token, shape (B, T); 0 for padding.
        process_only: Share of all groups whose outcomes are all equal and whose steps are not.
    """

    rewards: FloatArray
    advantages: FloatArray
    process_only: float


def alone(local: FloatArray) -> tuple[FloatArray, slice]:
    """Return the rollouts as they are: there is no other process."""
    return local, slice(None)


def returns(
    outcomes: FloatArray,
    scores: Sequence[Sequence[float] | None],
    index: IntArray,
    rule: ScoreRule,
    share: Share = alone,
) -> Returns:
    """Turn outcomes and scores into advantages, over groups that may span processes.

    Args:
        outcomes: r of each rollout, shape (B,); NaN where the verifier could not say.
        scores: Scores of each rollout's steps; None where it has none.
        index: Step of every token, shape (B, T); -1 for padding.
        rule: Rewards of steps, weight of the outcome and size of a group.
        share: Brings the other processes' rollouts.

    Raises:
        ValueError: The rollouts of all processes do not make whole groups.
    """
    table = reward_table(scores, rule.rewards)
    stats = part_stats(outcomes, table)
    everyone, own = share(np.column_stack([outcomes, stats.reshape(len(stats), -1)]))
    mean, std = group_moments(everyone[:, 1:].reshape(-1, *stats.shape[1:]), rule.group_size)
    advantages = step_advantages(outcomes, table, index, rule.w_whole, (mean[own], std[own]))
    return Returns(table, advantages, process_signal_only(everyone[:, 0], std, rule.group_size))


def reward_table(scores: Sequence[Sequence[float] | None], rewards: StepRewards) -> FloatArray:
    """Return the rewards of the steps of B rollouts, shape (B, S); NaN where there is no step, or no score.

    Args:
        scores: Scores of each rollout's steps; None where it has none.
        rewards: What the method makes of them.
    """
    table = np.full((len(scores), max((len(row) for row in scores if row is not None), default=0)), np.nan)
    for place, row in enumerate(scores):
        if row is not None:
            table[place, : len(row)] = rewards(np.asarray(row, dtype=np.float64))
    return table


def part_stats(outcomes: FloatArray, table: FloatArray) -> FloatArray:
    """Condense each rollout to what its group needs of outcome and process, shape (B, 2, 3).

    Args:
        outcomes: r of each rollout, shape (B,); NaN where the verifier could not say.
        table: From `reward_table`.
    """
    parts = (outcomes[:, None], table)
    return np.stack([completion_stats(part, np.ones_like(part)) for part in parts], axis=1)


def step_advantages(
    outcomes: FloatArray, table: FloatArray, index: IntArray, w_whole: float, moments: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Return the advantages of tokens, shape (B, T); 0 for padding.

    Args:
        outcomes: r of each rollout, shape (B,); NaN where the verifier could not say.
        table: From `reward_table`.
        index: Step of every token, shape (B, T); -1 for padding.
        w_whole: Weight of the outcome.
        moments: Mean and standard deviation of the two parts over each rollout's group, shape (B, 2) each, from
            `advantages.group_moments` of `part_stats`.
    """
    mean, std = (moment.T for moment in moments)
    whole = normalise(outcomes[:, None], np.ones((len(outcomes), 1), dtype=np.bool_), mean[0], std[0])
    steps = normalise(table, np.ones_like(table, dtype=np.bool_), mean[1], std[1])
    process = token_charges([*following(steps)], index)
    return np.where(index >= 0, w_whole * whole + process, 0.0)


def following(rewards: FloatArray) -> FloatArray:
    """Return for each step the sum of its reward and those of the steps after it, along the last axis."""
    return np.asarray(np.flip(np.cumsum(np.flip(rewards, axis=-1), axis=-1), axis=-1))
