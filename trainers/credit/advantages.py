"""Moments of token rewards over a group, and rewards normalised by them (paper, section on advantages).

A = (R − mean) / std, with mean and population standard deviation over the tokens of all G rollouts of a group, each
token with a weight: 1 for the paper's formula, others for the other ways of `trainers.credit.normalization`. A group
may span processes, so each process condenses its rollouts to three numbers each, the processes exchange those, never
padded (B, T) arrays, and every process finds the moments of its own rows' groups:

    stats = completion_stats(rewards, weights)                  # (B, 3), here
    mean, std = group_moments(all_gathered_stats, group_size)   # (B_all,) each, everywhere the same
    advantages = normalise(rewards, mask, mean[own], std[own])  # (B, T), here

Float64 throughout. The three numbers are weight, mean and squared deviations from that mean, not sums of squares: those
cancel when rewards are large beside their spread.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import BoolArray, FloatArray

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


def normalise(rewards: FloatArray, mask: BoolArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Return (R − mean) / std, shape (B, T); 0 for padding, NaN rewards and groups without spread.

    Args:
        rewards: Token rewards, shape (B, T).
        mask: Which tokens are the completion's, shape (B, T).
        mean: Mean of each rollout's group, shape (B,).
        std: Standard deviation of each rollout's group, shape (B,).
    """
    counted = mask & ~np.isnan(rewards) & (std > STD_FLOOR)[:, None]
    scale = np.where(std > STD_FLOOR, std, 1.0)
    return np.where(counted, (rewards - mean[:, None]) / scale[:, None], 0.0)


def _divisor(weight: FloatArray) -> FloatArray:
    return np.where(weight > 0, weight, 1.0)
