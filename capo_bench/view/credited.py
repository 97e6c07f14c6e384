"""What the steps of stored rollouts earned, by the replay's own functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from capo_bench.replay.batch import batch_of
from capo_bench.replay.credit import advantages, penalties
from capo_bench.replay.setting import trained_setting
from trainers.config import TrialConfig
from trainers.credit.assign import checked
from trainers.credit.critique import Critique
from trainers.methods import step_charge
from trainers.rollouts import Rollout, StoredStep


@dataclass(frozen=True)
class Credited:
    """One rollout of training with its credit. All tokens of a step have one reward and one advantage.

    Attributes:
        step: The optimizer step, from 1.
        place: Which rollout of the step it is, from 1.
        rollout: As it was stored.
        critiques: What the critics said; one that names a step that is not there is an abstention, as in training.
        votes: How many critiques flag each step.
        voters: How many critiques have a verdict.
        charges: Penalty share of each step by the vote trained with, from 0 to 1; None where no critique answered.
        rewards: Reward of the tokens of each step; NaN where the answer could not be verified.
        advantages: Advantage of the tokens of each step; 0 where the answer could not be verified.
        group: Outcomes of its group's rollouts, NaN where unknown.
        signal: Whether any token of its group has an advantage other than 0.
    """

    step: int
    place: int
    rollout: Rollout
    critiques: tuple[Critique, ...]
    votes: tuple[int, ...]
    voters: int
    charges: tuple[float, ...] | None
    rewards: tuple[float, ...]
    advantages: tuple[float, ...]
    group: tuple[float, ...]
    signal: bool

    @property
    def charged(self) -> bool:
        """Whether the vote charges any step."""
        return any(self.charges or ())

    @property
    def spared(self) -> bool:
        """Whether critiques answered and the vote leaves some step free."""
        return self.charges is not None and not all(self.charges)

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
    setting, size = trained_setting(config.credit), config.train.group_size
    batch = batch_of(stored.rollouts, setting.ballot.k)
    shares = penalties(batch, setting.ballot)
    normalization, charge = config.credit.normalization, step_charge(config.method)
    earned = advantages(batch, shares, setting.weights, normalization, size, charge)
    ends = np.cumsum(batch.steps)
    found = []
    for row, rollout in enumerate(stored.rollouts):
        own = slice(int(ends[row] - batch.steps[row]), int(ends[row]))
        group = slice(row - row % size, row - row % size + size)
        in_group = (batch.owner >= group.start) & (batch.owner < group.stop)
        found.append(
            Credited(
                step=stored.step,
                place=row + 1,
                rollout=rollout,
                critiques=tuple(checked(critique, len(rollout.steps)) for critique in rollout.critiques),
                votes=tuple(batch.flags[:, own].sum(axis=0).tolist()),
                voters=int(batch.answered[:, row].sum()),
                charges=None if np.isnan(shares[own]).any() else tuple(shares[own].tolist()),
                rewards=tuple(earned.rewards[own].tolist()),
                advantages=tuple(earned.advantages[own].tolist()),
                group=tuple(batch.outcomes[group].tolist()),
                signal=bool((earned.advantages[in_group] != 0).any()),
            )
        )
    return found
