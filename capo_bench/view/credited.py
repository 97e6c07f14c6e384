"""What the steps of stored rollouts earned, by votes or by scores: from the replay's own functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from capo_bench.replay.batch import batch_of
from capo_bench.replay.credit import advantages, penalties
from capo_bench.replay.scored import earned as earned_by_scores
from capo_bench.replay.scored import trains_on_scores
from capo_bench.replay.setting import trained_setting
from trainers.config import TrialConfig
from trainers.credit.assign import checked
from trainers.credit.critique import Critique
from trainers.methods import step_charge
from trainers.prm.scored import HALF
from trainers.rollouts import Rollout, StoredStep


@dataclass(frozen=True)
class Credited:
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
        signal: Whether any token of its group has an advantage other than 0.
    """

    step: int
    place: int
    rollout: Rollout
    critiques: tuple[Critique, ...]
    votes: tuple[int, ...]
    voters: int
    doubts: tuple[float, ...] | None
    blamed: tuple[bool, ...] | None
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]
    group: tuple[float, ...]
    signal: bool

    @property
    def some_blamed(self) -> bool:
        """Whether any step is blamed."""
        return any(self.blamed or ())

    @property
    def some_spared(self) -> bool:
        """Whether there was an answer that leaves some step free."""
        return self.blamed is not None and not all(self.blamed)

    @property
    def mean_advantage(self) -> float:
        """Mean over its tokens; 0 without tokens."""
        tokens = self.rollout.tokens
        return math.fsum(a * n for a, n in zip(self.advantages, tokens, strict=True)) / max(sum(tokens), 1)


def credited(stored: StoredStep, config: TrialConfig) -> list[Credited]:
    """Return every rollout of an optimizer step with its credit, as the trial was trained.

    Args:
        stored: The step; whole groups.
        config: The trial's settings.
    """
    return list(_scored(stored, config) if trains_on_scores(config) else _voted(stored, config))


def _scored(stored: StoredStep, config: TrialConfig) -> Iterator[Credited]:
    earned, size = earned_by_scores(stored.rollouts, config), config.train.group_size
    for row, rollout in enumerate(stored.rollouts):
        steps, first = len(rollout.steps), row - row % size
        scores = rollout.scored.scores if rollout.scored else None
        outcomes = [one.outcome for one in stored.rollouts[first : first + size]]
        yield Credited(
            step=stored.step,
            place=row + 1,
            rollout=rollout,
            critiques=(),
            votes=(),
            voters=0,
            doubts=None if scores is None else tuple(1 - score for score in scores),
            blamed=None if scores is None else tuple(score < HALF for score in scores),
            rewards=tuple(earned.rewards[row, :steps].tolist()),
            advantages=tuple(earned.advantages[row, :steps].tolist()),
            group=tuple(math.nan if outcome is None else outcome for outcome in outcomes),
            signal=bool((earned.advantages[first : first + size] != 0).any()),
        )


def _voted(stored: StoredStep, config: TrialConfig) -> Iterator[Credited]:
    setting, size = trained_setting(config.credit), config.train.group_size
    batch = batch_of(stored.rollouts, setting.ballot.k)
    shares = penalties(batch, setting.ballot)
    normalization, charge = config.credit.normalization, step_charge(config.method)
    earned = advantages(batch, shares, setting.weights, normalization, size, charge)
    ends = np.cumsum(batch.steps)
    for row, rollout in enumerate(stored.rollouts):
        own = slice(int(ends[row] - batch.steps[row]), int(ends[row]))
        group = slice(row - row % size, row - row % size + size)
        in_group = (batch.owner >= group.start) & (batch.owner < group.stop)
        votes, voters = batch.flags[:, own].sum(axis=0), int(batch.answered[:, row].sum())
        yield Credited(
            step=stored.step,
            place=row + 1,
            rollout=rollout,
            critiques=tuple(checked(critique, len(rollout.steps)) for critique in rollout.critiques),
            votes=tuple(votes.tolist()),
            voters=voters,
            doubts=tuple((votes / voters).tolist()) if voters else None,
            blamed=None if np.isnan(shares[own]).any() else tuple((shares[own] > 0).tolist()),
            rewards=tuple(earned.rewards[own].tolist()),
            advantages=tuple(earned.advantages[own].tolist()),
            group=tuple(batch.outcomes[group].tolist()),
            signal=bool((earned.advantages[in_group] != 0).any()),
        )
