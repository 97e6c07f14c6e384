"""The rollouts that training stored, trial by trial, with what their steps earned; and the most telling of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from capo_bench.critic.quality import share_charged
from capo_bench.revote.batch import Stored, compute_earned, store_of
from capo_bench.revote.setting import find_trained_setting
from capo_bench.revote.trial import read_whole
from capo_bench.store.home import TrialFolder
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Earned
from trainers.credit.critique import Critique, check_critique
from trainers.methods import METHODS
from trainers.prm.scored import HALF
from trainers.rollouts import DamagedRolloutsError, Rollout, StoredStep, list_stored_steps


@dataclass(frozen=True)
class CreditedRollout:
    """One rollout of training with its credit. All tokens of a step have one reward and one advantage.

    Attributes:
        step: The optimizer step, from 1.
        place: Which rollout of the step it is, from 1.
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


@dataclass(frozen=True)
class CreditedStep:
    """One stored optimizer step of a trial; one that cannot be read has no rollouts, and `damaged` says why."""

    trial: Trial
    number: int
    rollouts: list[CreditedRollout]
    damaged: str = ""


def read_credited(trial: Trial, folder: TrialFolder, numbers: Sequence[int] | None = None) -> Iterator[CreditedStep]:
    """Yield the stored optimizer steps of a trial, all or those of these numbers, each read once."""
    files = list_stored_steps(folder.rollouts)
    for number in files if numbers is None else numbers:
        try:
            step = read_whole(number, files[number], trial.config.train.group_size)
        except DamagedRolloutsError as error:
            yield CreditedStep(trial, number, [], str(error))
        else:
            yield CreditedStep(trial, number, credit_step(step, trial.config))


def select_steps(trials: Sequence[tuple[Trial, TrialFolder]], most: int) -> dict[str, list[int]]:
    """Return trial id to the optimizer steps to read, so that there are about `most` rollouts in all.

    Every n-th step from the first, and the last.
    """
    stored = {trial.id: list(list_stored_steps(folder.rollouts)) for trial, folder in trials}
    size = {trial.id: trial.config.train.prompts_per_step * trial.config.train.group_size for trial, _ in trials}
    every = max(1, math.ceil(sum(size[name] * len(steps) for name, steps in stored.items()) / most))
    return {name: sorted({*steps[::every], *steps[-1:]}) for name, steps in stored.items()}


def credit_step(stored: StoredStep, config: TrialConfig) -> list[CreditedRollout]:
    """Return every rollout of a step of whole groups with its credit, as the trial was trained; NaN for none."""
    if not METHODS.get(config.method).rests_on_rollouts:
        return [_leave_without_credit(stored, place, config.train.group_size) for place in range(len(stored.rollouts))]
    store, size = store_of(stored.rollouts, config.credit.critiques), config.train.group_size
    earned = compute_earned(store, config)
    shares = share_charged(store.flags, find_trained_setting(config.credit).ballot)
    ends = np.cumsum(store.layout.steps)
    return [
        _credit_rollout(stored, store, row, slice(int(end - count), int(end)), (earned, shares, size))
        for row, (count, end) in enumerate(zip(store.layout.steps, ends, strict=True))
    ]


def _credit_rollout(
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
        critiques=tuple(check_critique(critique, len(rollout.steps)) for critique in rollout.critiques),
        votes=tuple(votes.tolist()) if rollout.critiques else (),
        voters=voters,
        doubts=shared if scores is None else tuple(1 - score for score in scores),
        blamed=blamed if scores is None else tuple(score < HALF for score in scores),
        rewards=tuple(rewards.tolist()),
        advantages=tuple(earned.advantages[own].tolist()),
        group=tuple(store.outcomes[first : first + size].tolist()),
    )


def find_most_telling(steps: Sequence[CreditedRollout]) -> CreditedRollout | None:
    """Return the rollout on which critiques disagree most; None where there are no two verdicts on any.

    Among equals the one whose steps' exact labels are known and are missed by the most critiques, then the first.
    """
    voted = [rollout for rollout in steps if rollout.voters > 1]
    return max(voted, key=lambda rollout: (rollout.split, _share_missed(rollout), -rollout.place), default=None)


def _share_missed(credited: CreditedRollout) -> float:
    """Return the share of critiques' verdicts that the exact checker does not share, of the worst step."""
    truth, voters = credited.rollout.truth, credited.voters
    if truth is None:
        return 0.0
    wrong = ((voters - votes if place in truth else votes) for place, votes in enumerate(credited.votes))
    return max(wrong, default=0) / voters


def _leave_without_credit(step: StoredStep, place: int, size: int) -> CreditedRollout:
    rollout, first = step.rollouts[place], place - place % size
    nothing = (math.nan,) * len(rollout.steps)
    group = tuple(math.nan if own.outcome is None else own.outcome for own in step.rollouts[first : first + size])
    return CreditedRollout(step.step, place + 1, rollout, rollout.critiques, nothing, nothing, group)
