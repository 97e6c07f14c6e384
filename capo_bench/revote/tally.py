"""Sums over batches that give every number of a replay; two tallies of one setting can be added.

Labels follow from a vote: a step is labelled wrong if its penalty share is one half or more. For every rule except
`average` the share is the penalty itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields

import numpy as np

from capo_bench.critic.quality import FLAGGED
from capo_bench.revote.batch import Stored
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.batch import Earned, Evidence, process_signal_only

ROUNDING = 1e-9
"""An advantage up to this size is rounding and has no sign; a change up to this size is no change."""


@dataclass
class LabelTally:
    """Labels of steps by a ballot.

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

    rollouts: float = 0
    uncritiqued: float = 0
    critiques: float = 0
    abstained: float = 0
    steps: float = 0
    penalty: float = 0
    compared: float = 0
    agreeing: float = 0
    counts: dict[str, FloatArray] = field(default_factory=dict)

    def add(self, stored: Stored, k: int, shares: FloatArray, trained: FloatArray) -> None:
        """Count a batch.

        Args:
            stored: The rollouts.
            k: Number of critiques that voted.
            shares: Penalty share of every step, shape (N,); NaN without a vote.
            trained: The same in training.
        """
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


@dataclass
class Distance:
    """Differences of rewards or advantages to those of a reference, token by token.

    Attributes:
        tokens: Tokens compared.
        changed: Those with another value.
        flipped: Those whose value has another sign.
        moved: Sum of absolute differences.
        x: Sum of the values.
        y: Sum of the reference's.
        xx: Sum of squares of the values.
        yy: Sum of squares of the reference's.
        xy: Sum of products.
    """

    tokens: float = 0
    changed: float = 0
    flipped: float = 0
    moved: float = 0
    x: float = 0
    y: float = 0
    xx: float = 0
    yy: float = 0
    xy: float = 0

    def add(self, ours: FloatArray, theirs: FloatArray, tokens: FloatArray) -> None:
        """Count steps, each with its number of tokens, shape (N,) each."""
        weighed, apart = tokens * ours, np.abs(ours - theirs)
        self.tokens += float(tokens.sum())
        self.changed += float(tokens[apart > ROUNDING].sum())
        self.flipped += float(tokens[_sign(ours) != _sign(theirs)].sum())
        self.moved += float((tokens * apart).sum())
        self.x += float(weighed.sum())
        self.y += float((tokens * theirs).sum())
        self.xx += float((weighed * ours).sum())
        self.yy += float((tokens * theirs * theirs).sum())
        self.xy += float((weighed * theirs).sum())

    @property
    def correlation(self) -> float:
        """Pearson's correlation over tokens; NaN where one side does not vary."""
        if not self.tokens:
            return math.nan
        x, y = self.x / self.tokens, self.y / self.tokens
        variances = (self.xx / self.tokens - x * x, self.yy / self.tokens - y * y)
        if min(variances) <= 1e-12:
            return math.nan
        return (self.xy / self.tokens - x * y) / math.sqrt(variances[0] * variances[1])


@dataclass
class TokenTally:
    """Rewards and advantages of tokens under a setting, compared with training and with exact labels.

    Attributes:
        groups: Groups of rollouts.
        process_only: Those with signal from the process only.
        rewards: Distance to the rewards of training.
        trained: Distance to the advantages of training.
        exact: Distance to the advantages under exact labels and the same weights.
    """

    groups: float = 0
    process_only: float = 0
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


def pooled_labels(tallies: Iterable[LabelTally]) -> LabelTally:
    """Return the sum of tallies; a problem of several tallies stays one group."""
    total = LabelTally()
    for tally in tallies:
        _add_numbers(total, tally, lambda name: name != "counts")
        for problem, row in tally.counts.items():
            total.counts[problem] = total.counts[problem] + row if problem in total.counts else row
    return total


def pool_tokens(tallies: Iterable[TokenTally]) -> TokenTally:
    """Return the sum of tallies."""
    total = TokenTally()
    for tally in tallies:
        total.groups += tally.groups
        total.process_only += tally.process_only
        _add_numbers(total.rewards, tally.rewards)
        _add_numbers(total.trained, tally.trained)
        _add_numbers(total.exact, tally.exact)
    return total


def table_of(counts: Mapping[str, FloatArray]) -> FloatArray:
    """Return the counts of all problems, shape (problems, 4)."""
    return np.array(list(counts.values()), dtype=np.float64).reshape(-1, 4)


def _sign(values: FloatArray) -> FloatArray:
    return np.where(np.abs(values) > ROUNDING, np.sign(values), 0.0)


def _add_numbers(
    total: LabelTally | Distance, part: LabelTally | Distance, of: Callable[[str], bool] = lambda name: True
) -> None:
    for name in (entry.name for entry in fields(part) if of(entry.name)):
        setattr(total, name, getattr(total, name) + getattr(part, name))
