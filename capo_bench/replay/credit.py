"""Penalties and advantages of a batch under a setting: the functions that train, on many rollouts at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from capo_bench.replay.batch import Batch
from capo_bench.replay.setting import Ballot, Weights
from trainers.credit.advantages import group_moments
from trainers.credit.arrays import FloatArray
from trainers.credit.assign import process_signal_only
from trainers.credit.normalization import NORMALIZATIONS, normalised, part_stats
from trainers.credit.rewards import StepCharge, token_rewards
from trainers.credit.votes import VOTES, combine

STEP_BY_STEP = frozenset({"greedy", "intersection", "majority", "union", "average", "at_least"})
"""Rules that judge each step by the flags of that step alone, so that steps of many rollouts make one matrix."""


@dataclass(frozen=True)
class Earned:
    """What a batch earns under a setting.

    Attributes:
        rewards: Reward of the tokens of each step, shape (N,); NaN where the answer could not be verified.
        advantages: Advantage of the tokens of each step, shape (N,); 0 where the answer could not be verified.
        groups: How many groups there are.
        process_only: How many of them have signal only from the process.
    """

    rewards: FloatArray
    advantages: FloatArray
    groups: int
    process_only: int


def penalties(batch: Batch, ballot: Ballot) -> FloatArray:
    """Return the penalty share of every step, shape (N,); NaN where none of the k critiques answered."""
    answered = batch.answered[: ballot.k]
    found = np.full(len(batch.owner), np.nan)
    if ballot.vote.rule not in STEP_BY_STEP:
        return _rollout_by_rollout(batch, ballot, found)
    voters = answered.sum(axis=0)
    for number in np.unique(voters[voters > 0]).tolist():
        columns = np.flatnonzero(voters[batch.owner] == number)
        # Those that answered first, each in its own order: an abstention has no row.
        order = np.argsort(~answered, axis=0, kind="stable")[:number]
        flags = np.take_along_axis(batch.flags[: ballot.k, columns], order[:, batch.owner[columns]], axis=0)
        found[columns] = combine(VOTES.get(ballot.vote.rule), flags, ballot.vote.at_least)
    return found


def _rollout_by_rollout(batch: Batch, ballot: Ballot, found: FloatArray) -> FloatArray:
    ends = np.cumsum(batch.steps)
    for row, (end, count) in enumerate(zip(ends.tolist(), batch.steps.tolist(), strict=True)):
        flags = batch.flags[: ballot.k, end - count : end][batch.answered[: ballot.k, row]]
        shares = combine(VOTES.get(ballot.vote.rule), flags, ballot.vote.at_least)
        if shares is not None:
            found[end - count : end] = shares
    return found


def advantages(  # noqa: PLR0913, PLR0917 - what was voted, and all that decides what it is worth
    batch: Batch, shares: FloatArray, weights: Weights, normalization: str, group_size: int, charge: StepCharge
) -> Earned:
    """Return what a batch earns.

    The tokens of a step have one reward, so rewards and advantages are worked out once a step; the moments of a group
    are over its tokens.

    Args:
        batch: The rollouts.
        shares: Penalty share of every step, shape (N,); NaN is charged as nothing.
        weights: Of outcome and process.
        normalization: Name of how rewards become advantages.
        group_size: G.
        charge: Which steps pay for those that are voted wrong.

    Raises:
        ValueError: The rollouts do not make whole groups.
    """
    parts = NORMALIZATIONS.get(normalization)(weights.whole, weights.process)
    charges = charge(batch.square(np.nan_to_num(shares)))
    by_token = np.where(batch.mask, np.take_along_axis(charges, np.maximum(batch.index, 0), axis=1), 0.0)
    moments = group_moments(part_stats(parts, batch.outcomes, by_token, batch.index), group_size)
    earned = normalised(parts, batch.outcomes, charges, np.ones_like(charges, dtype=np.bool_), moments)
    rewards = token_rewards(batch.outcomes, charges, weights.whole, weights.process)
    groups = len(batch.steps) // group_size
    only = process_signal_only(batch.outcomes, moments[1], group_size) * groups if groups else 0.0
    places = batch.owner, batch.place
    return Earned(rewards[places], earned[places], groups, round(only))
