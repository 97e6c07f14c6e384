"""Compute the moments of token rewards over a group, and normalise rewards by them (paper, section on advantages).

A = (R − mean) / std, with the mean and the population standard deviation over the tokens of all G rollouts of a group.
Each token has a weight: 1 in the paper's formula, other values in the other methods of `trainers.credit.normalization`.
Each rollout is reduced to three numbers, and the moments of its group are computed from them:

    stats = summarize_completions(rewards, weights)             # (B, 3)
    mean, std = group_moments(stats, group_size)                # (B,) each
    advantages = normalise(rewards, mean, std)

All computations are in float64. The three numbers are the weight, the mean and the squared deviations from that mean.
Sums of squares would lose precision by cancellation when rewards are large compared with their standard deviation.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray

STD_FLOOR = 1e-8
"""Largest standard deviation of a group whose rewards differ by rounding alone: its advantages are exactly 0.

This threshold replaces the usual epsilon in the denominator, so that every other group follows the paper's formula
exactly.
"""


def summarize_completions(rewards: FloatArray, weights: FloatArray) -> FloatArray:
    """Reduce each rollout's token rewards to (weight, mean, sum of squared deviations from the mean), shape (B, 3).

    A rollout without tokens, or with NaN rewards (its answer could not be verified), has weight 0 and does not affect
    its group.

    Args:
        rewards: Token rewards, shape (B, T).
        weights: Weight of each token, shape (B, T); 0 for padding.
    """
    counted = np.where(np.isnan(rewards), 0.0, weights)
    values = np.where(counted > 0, rewards, 0.0)
    weight = counted.sum(axis=1)
    mean = (counted * values).sum(axis=1) / _replace_zeros(weight)
    return np.stack([weight, mean, (counted * np.square(values - mean[:, None])).sum(axis=1)], axis=1)


def group_moments(stats: FloatArray, group_size: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean and the population standard deviation of each rollout's group, shape (B, …) each.

    Args:
        stats: From `summarize_completions`, shape (B, …, 3). The rollouts of a group are adjacent.
        group_size: G.

    Raises:
        ValueError: B is not a multiple of G.
    """
    if len(stats) % group_size:
        raise ValueError(f"{len(stats)} rollouts do not make groups of {group_size}; give whole groups")
    weight, mean, deviations = np.moveaxis(stats.reshape(-1, group_size, *stats.shape[1:]), -1, 0)
    total = _replace_zeros(weight.sum(axis=1))
    group_mean = (weight * mean).sum(axis=1) / total
    spread = deviations + weight * np.square(mean - group_mean[:, None])
    std = np.sqrt(spread.sum(axis=1) / total)
    return np.repeat(group_mean, group_size, axis=0), np.repeat(std, group_size, axis=0)


def normalise(rewards: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Return (R − mean) / std; 0 for NaN rewards and for groups with a standard deviation of 0.

    Args:
        rewards: Rewards of tokens, steps or rollouts.
        mean: Mean of each element's group, in the shape of `rewards`.
        std: Standard deviation of each element's group, in the shape of `rewards`.
    """
    counted = ~np.isnan(rewards) & (std > STD_FLOOR)
    return np.where(counted, (rewards - mean) / np.where(std > STD_FLOOR, std, 1.0), 0.0)


def compute_response_advantages(rewards: FloatArray, group_size: int) -> FloatArray:
    """Return (r_i − mean r) / std r over the rollouts of each group, shape (B,); 0 for a NaN reward."""
    column = rewards[:, None]
    return normalise(column, *group_table_moments(column, group_size))[:, 0]


def group_table_moments(table: FloatArray, group_size: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean and the standard deviation of each rollout's group without NaN values, shape (B, 1) each."""
    mean, std = group_moments(summarize_completions(table, np.ones_like(table)), group_size)
    return mean[:, None], std[:, None]


def _replace_zeros(weight: FloatArray) -> FloatArray:
    return np.where(weight > 0, weight, 1.0)
