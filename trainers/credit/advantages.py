"""Moments of token rewards over a group, and rewards normalised by them (paper, section on advantages).

A = (R − mean) / std, with mean and population standard deviation over the tokens of all G rollouts of a group, each
token with a weight: 1 for the paper's formula, others for the other ways of `trainers.credit.normalization`. Each
rollout is condensed to three numbers, from which its group's moments follow:

    stats = completion_stats(rewards, weights)                  # (B, 3)
    mean, std = group_moments(stats, group_size)                # (B,) each
    advantages = normalise(rewards, mean, std)

Float64 throughout. The three numbers are weight, mean and squared deviations from that mean, not sums of squares: those
cancel when rewards are large beside their spread.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray

STD_FLOOR = 1e-8
"""A group whose standard deviation is not above this has equal rewards but for rounding: its advantages are exactly 0.

It stands in place of the usual epsilon in the denominator, so that every other group has the paper's formula exactly.
"""


def completion_stats(rewards: FloatArray, weights: FloatArray) -> FloatArray:
    """Condense each rollout's token rewards to (weight, mean, sum of squared deviations from the mean), shape (B, 3).

    A rollout without a token, or with NaN rewards (its answer could not be verified), has weight 0: it takes no part in
    its group.

    Args:
        rewards: Token rewards, shape (B, T).
        weights: What each token counts for, shape (B, T); 0 for padding.
    """
    counted = np.where(np.isnan(rewards), 0.0, weights)
    values = np.where(counted > 0, rewards, 0.0)
    weight = counted.sum(axis=1)
    mean = (counted * values).sum(axis=1) / _divisor(weight)
    return np.stack([weight, mean, (counted * np.square(values - mean[:, None])).sum(axis=1)], axis=1)


def group_moments(stats: FloatArray, group_size: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and population standard deviation of each rollout's group, shape (B, …) each.

    Args:
        stats: From `completion_stats`, shape (B, …, 3), the rollouts of a group next to each other.
        group_size: G.

    Raises:
        ValueError: B is not a multiple of G.
    """
    if len(stats) % group_size:
        raise ValueError(f"{len(stats)} rollouts do not make groups of {group_size}; give whole groups")
    weight, mean, deviations = np.moveaxis(stats.reshape(-1, group_size, *stats.shape[1:]), -1, 0)
    total = _divisor(weight.sum(axis=1))
    group_mean = (weight * mean).sum(axis=1) / total
    spread = deviations + weight * np.square(mean - group_mean[:, None])
    std = np.sqrt(spread.sum(axis=1) / total)
    return np.repeat(group_mean, group_size, axis=0), np.repeat(std, group_size, axis=0)


def normalise(rewards: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Return (R − mean) / std; 0 for NaN rewards and groups without spread.

    Args:
        rewards: Of tokens, steps or rollouts.
        mean: Mean of each one's group, of the same shape.
        std: Standard deviation of each one's group.
    """
    counted = ~np.isnan(rewards) & (std > STD_FLOOR)
    return np.where(counted, (rewards - mean) / np.where(std > STD_FLOOR, std, 1.0), 0.0)


def response_advantages(rewards: FloatArray, group_size: int) -> FloatArray:
    """Return (r_i − mean r) / std r over the rollouts of each group, shape (B,); 0 for a NaN reward."""
    column = rewards[:, None]
    return normalise(column, *group_table_moments(column, group_size))[:, 0]


def group_table_moments(table: FloatArray, group_size: int) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of each rollout's group over its values, NaN left out, shape (B, 1) each."""
    mean, std = group_moments(completion_stats(table, np.ones_like(table)), group_size)
    return mean[:, None], std[:, None]


def _divisor(weight: FloatArray) -> FloatArray:
    return np.where(weight > 0, weight, 1.0)
