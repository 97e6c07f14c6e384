"""What the steps of stored rollouts earned, by votes or by scores: from the replay's own functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from capo_bench.revote.batch import Stored, earned_in_training, store_of
from capo_bench.revote.setting import trained_setting
from trainers.config import TrialConfig
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Earned
from trainers.credit.critique import Critique, checked
from trainers.prm.scored import HALF
from trainers.rollouts import Rollout, StoredStep


@dataclass(frozen=True)
class CreditedRollout:
    """One rollout of training with its credit. All tokens of a step have one reward and one advantage.

    Attributes:
        step: The optimizer step, from 1.
        place: Which rollout of the step it is, from 1.
        rollout: As it was stored.
        critiques: What the critics said; one that names a step that is not there is an abstention, as in training.
        votes: How many critiques flag each step; empty where the model scores.
        voters: How many critiques have a verdict.
        doubts: What speaks against each step, from 0 to 1: the share of the verdicts that flag it, or the model's
            probability that it is wrong; None where neither a critique nor the model answered.
        blamed: Which steps the vote trained with charges, or the model calls rather wrong than right; None as above.
        rewards: Reward of the tokens of each step. Of votes NaN where the answer could not be verified; of scores what
            the method makes of them, without the outcome, NaN where there are none.
        advantages: Advantage of the tokens of each step.
        group: Outcomes of its group's rollouts, NaN where unknown.
    """

    step: int
    place: int
    rollout: Rollout
    critiques: tuple[Critique, ...]
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]
    group: tuple[float, ...]
    votes: tuple[int, ...] = ()
    voters: int = 0
    doubts: tuple[float, ...] | None = None
    blamed: tuple[bool, ...] | None = None

    @property
    def split(self) -> float:
        """How far the critiques disagree on the step that they disagree on most: 0 for one mind, 1 for even halves."""
        return max(
            (2 * min(votes, self.voters - votes) / self.voters for votes in self.votes if self.voters), default=0
        )

    @property
    def mean_advantage(self) -> float:
        """Mean over its tokens; 0 without tokens."""
        tokens = self.rollout.tokens
        return math.fsum(a * n for a, n in zip(self.advantages, tokens, strict=True)) / max(sum(tokens), 1)


def credited(stored: StoredStep, config: TrialConfig) -> list[CreditedRollout]:
    """Return every rollout of an optimizer step, whole groups, with its credit, as the trial was trained."""
    store, size = store_of(stored.rollouts, config.credit.critiques), config.train.group_size
    earned, shares = earned_in_training(store, config), store.voted(trained_setting(config.credit).ballot)
    ends = np.cumsum(store.layout.steps)
    return [
        _credited(stored, store, row, slice(int(end - count), int(end)), (earned, shares, size))
        for row, (count, end) in enumerate(zip(store.layout.steps, ends, strict=True))
    ]


def _credited(
    stored: StoredStep, store: Stored, row: int, own: slice, worth: tuple[Earned, FloatArray, int]
) -> CreditedRollout:
    (earned, shares, size), rollout = worth, stored.rollouts[row]
    first = row - row % size
    scores = rollout.scored.scores if rollout.scored else None
    votes, voters = store.flags.flagged[:, own].sum(axis=0), int(store.flags.answered[:, row].sum())
    shared = tuple((votes / voters).tolist()) if voters else None
    blamed = None if np.isnan(shares[own]).any() else tuple((shares[own] > 0).tolist())
    rewards = np.full(len(rollout.steps), np.nan) if earned.rewards is None else earned.rewards[own]
    return CreditedRollout(
        step=stored.step,
        place=row + 1,
        rollout=rollout,
        critiques=tuple(checked(critique, len(rollout.steps)) for critique in rollout.critiques),
        votes=tuple(votes.tolist()) if rollout.critiques else (),
        voters=voters,
        doubts=shared if scores is None else tuple(1 - score for score in scores),
        blamed=blamed if scores is None else tuple(score < HALF for score in scores),
        rewards=tuple(rewards.tolist()),
        advantages=tuple(earned.advantages[own].tolist()),
        group=tuple(store.outcomes[first : first + size].tolist()),
    )
