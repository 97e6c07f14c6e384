"""Rewards and advantages of stored rollouts that a process reward model scored: by the functions that train."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capo_bench.replay.batch import step_index
from trainers.config import TrialConfig
from trainers.methods import METHODS, score_rule
from trainers.prm.returns import Returns, returns
from trainers.rollouts import Rollout


def trains_on_scores(config: TrialConfig) -> bool:
    """Whether a trial's advantages come from the scores of a process reward model."""
    return METHODS.get(config.method).step_rewards is not None


def earned(rollouts: Sequence[Rollout], config: TrialConfig) -> Returns:
    """Return what stored rollouts earned, worked out once a step: the tokens of a step have one advantage.

    Args:
        rollouts: Of one optimizer step; whole groups next to each other.
        config: The trial's settings.

    Returns:
        Rewards and advantages of shape (B, S) both, S steps in the longest rollout.

    Raises:
        ValueError: The rollouts do not make whole groups.
    """
    outcomes = np.array([np.nan if row.outcome is None else row.outcome for row in rollouts], dtype=np.float64)
    scores = [row.scored.scores if row.scored else None for row in rollouts]
    steps = step_index([[1] * len(row.steps) for row in rollouts])
    found = returns(outcomes, scores, steps, score_rule(config))
    rewards = np.full(steps.shape, np.nan)
    rewards[:, : found.rewards.shape[1]] = found.rewards
    return Returns(rewards, found.advantages, found.process_only)
