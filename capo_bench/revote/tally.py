"""Sums over batches of rollouts that give every number of a replay.

Labels follow from a vote: a step is labelled wrong if its penalty share is one half or more. For every rule except
`average` the share is the penalty itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capo_bench.critic.quality import FLAGGED, Vote, flat_shares
from capo_bench.revote.batch import Stored
from evals.critics.metrics import scores_of
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.batch import Earned, Evidence, process_signal_only

ROUNDING = 1e-9
"""An advantage up to this size is rounding and has no sign; a change up to this size is no change."""


@dataclass
class LabelTally:
    """Labels of steps by a vote over the first k critiques.

    Attributes:
        rollouts: Rollouts voted on.
        uncritiqued: Those without an answer among the first k critiques; their labels do not count.
        critiques: Critiques asked, the first k of each rollout.
        abstained: Those without a verdict.
        steps: Steps with a label.
        penalty: Sum of their penalty shares.
        compared: Steps with a label here and in training.
        agreeing: Those of them with the same label.
        counts: True and false positives, false and true negatives against the exact checker, by problem, shape (4,).
    """

    rollouts: int = 0
    uncritiqued: int = 0
    critiques: int = 0
    abstained: int = 0
    steps: int = 0
    penalty: float = 0
    compared: int = 0
    agreeing: int = 0
    counts: dict[str, FloatArray] = field(default_factory=dict)

    def add(self, stored: Stored, k: int, shares: FloatArray, trained: FloatArray) -> None:
        """Count a batch with k critiques: penalty shares, here and in training, shape (N,), NaN without a vote."""
        voted = ~np.isnan(shares)
        both = voted & ~np.isnan(trained)
        answered = stored.flags.answered[:k]
        labels = shares >= FLAGGED
        self.rollouts += len(stored.outcomes)
        self.uncritiqued += int((~answered.any(axis=0)).sum())
        self.critiques += k * len(stored.outcomes)
        self.abstained += int((~answered).sum())
        self.steps += int(voted.sum())
        self.penalty += float(shares[voted].sum())
        self.compared += int(both.sum())
        self.agreeing += int((labels == (trained >= FLAGGED))[both].sum())
        self._count(stored, voted & ~np.isnan(stored.truth), labels)

    def _count(self, stored: Stored, judged: BoolArray, labels: BoolArray) -> None:
        places = {problem: place for place, problem in enumerate(dict.fromkeys(stored.problems))}
        of_rollout = np.array([places[problem] for problem in stored.problems], dtype=np.int64)
        wrong = stored.truth == 1
        # Columns: flagged and wrong, flagged and right, not flagged and wrong, not flagged and right.
        column = np.where(labels, np.where(wrong, 0, 1), np.where(wrong, 2, 3))
        cells = (of_rollout[stored.layout.owner] * 4 + column)[judged]
        table = np.bincount(cells, minlength=4 * len(places)).reshape(-1, 4).astype(np.float64)
        for problem, row in zip(places, table, strict=True):
            if row.any():
                self.counts[problem] = self.counts[problem] + row if problem in self.counts else row

    def row(self, critic: str, vote: Vote, k: int) -> dict[str, Any]:
        """Return how good the labels are, as a row of plain values: shares from 0 to 1, None where undefined.

        Precision and the like have the ends of their 95 % interval beside them, over whole problems.
        """
        scores = scores_of(np.array(list(self.counts.values()), dtype=np.float64).reshape(-1, 4))
        return {
            "critic": critic,
            "rule": vote.rule,
            "at_least": vote.at_least,
            "k": k,
            "rollouts": self.rollouts,
            "problems": len(self.counts),
            "labelled_steps": scores.steps,
            "wrong_steps": scores.wrong,
            "flagged_step_rate": divide(self.penalty, self.steps),
            **flat_shares(scores),
            "label_agreement": divide(self.agreeing, self.compared),
            "abstained": divide(self.abstained, self.critiques),
            "uncritiqued": divide(self.uncritiqued, self.rollouts),
        }


@dataclass
class Distance:
    """Differences of rewards or advantages to those of a reference, token by token.

    Attributes:
        tokens: Tokens compared.
        changed: Those with another value.
        flipped: Those whose value has another sign.
        moved: Sum of absolute differences.
        moments: Sums of the values x and the reference's y: x, y, x², y², xy.
    """

    tokens: float = 0
    changed: float = 0
    flipped: float = 0
    moved: float = 0
    moments: FloatArray = field(default_factory=lambda: np.zeros(5))

    def add(self, ours: FloatArray, theirs: FloatArray, tokens: FloatArray) -> None:
        """Count steps, each with its number of tokens, shape (N,) each."""
        apart = np.abs(ours - theirs)
        self.tokens += float(tokens.sum())
        self.changed += float(tokens[apart > ROUNDING].sum())
        self.flipped += float(tokens[_sign(ours) != _sign(theirs)].sum())
        self.moved += float((tokens * apart).sum())
        self.moments = self.moments + np.stack([ours, theirs, ours**2, theirs**2, ours * theirs]) @ tokens

    @property
    def correlation(self) -> float | None:
        """Pearson's correlation over tokens; None where one side does not vary."""
        if not self.tokens:
            return None
        x, y, xx, yy, xy = (self.moments / self.tokens).tolist()
        variances = (xx - x * x, yy - y * y)
        return None if min(variances) <= 1e-12 else (xy - x * y) / math.sqrt(variances[0] * variances[1])


@dataclass
class TokenTally:
    """Rewards and advantages of tokens under a setting, compared with training and with exact labels.

    Attributes:
        trials: Trials that stored enough critiques for it.
        trained_with: Those of them that were trained with it.
        groups: Groups of rollouts.
        process_only: Those with signal from the process only.
        rewards: Distance to the rewards of training.
        trained: Distance to the advantages of training.
        exact: Distance to the advantages under exact labels and the same weights.
    """

    trials: int = 0
    trained_with: int = 0
    groups: int = 0
    process_only: int = 0
    rewards: Distance = field(default_factory=Distance)
    trained: Distance = field(default_factory=Distance)
    exact: Distance = field(default_factory=Distance)

    def add(self, stored: Stored, ours: Earned, trained: Earned, exact: Earned, group_size: int) -> None:
        """Count a batch; a rollout whose answer could not be verified earns nothing and does not count."""
        owner, groups = stored.layout.owner, len(stored.outcomes) // group_size
        only = process_signal_only(stored.batch(group_size, Evidence()), ours.advantages)
        self.groups += groups
        self.process_only += round(only * groups) if groups else 0
        verified = ~np.isnan(stored.outcomes)[owner]
        checked = verified & ~np.isnan(stored.truth)
        tokens = stored.layout.tokens.astype(np.float64)
        if ours.rewards is not None and trained.rewards is not None:
            self.rewards.add(ours.rewards[verified], trained.rewards[verified], tokens[verified])
        self.trained.add(ours.advantages[verified], trained.advantages[verified], tokens[verified])
        self.exact.add(ours.advantages[checked], exact.advantages[checked], tokens[checked])

    def row(self) -> dict[str, Any]:
        """Return the distances as a row of plain values: shares from 0 to 1, None where undefined."""
        return {
            "trials": self.trials,
            "trained_with": self.trained_with,
            "reward_changed": divide(self.rewards.changed, self.rewards.tokens),
            "reward_moved": divide(self.rewards.moved, self.rewards.tokens),
            "sign_changed": divide(self.trained.flipped, self.trained.tokens),
            "moved": divide(self.trained.moved, self.trained.tokens),
            "sign_off_exact": divide(self.exact.flipped, self.exact.tokens),
            "moved_exact": divide(self.exact.moved, self.exact.tokens),
            "correlation_exact": self.exact.correlation,
            "process_only": divide(self.process_only, self.groups),
        }


def divide(part: float, whole: float) -> float | None:
    """Return a share; None of nothing."""
    return part / whole if whole else None


def _sign(values: FloatArray) -> FloatArray:
    return np.where(np.abs(values) > ROUNDING, np.sign(values), 0.0)
