"""How good votes over critiques are, by rule and k, through the voting code of training.

The one place for it: labelled solutions and stored rollouts are both steps that critiques judged. A vote calls a step
wrong if its penalty share is one half or more; for every rule except `average` the share is the penalty itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evals.critics.metrics import compute_scores
from trainers.credit.arrays import BoolArray, FloatArray, IntArray
from trainers.credit.votes import VOTES, Flags, combine

FLAGGED = 0.5
"""A rule that returns shares (`average`) flags a step from this share on, which for `average` is majority."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Vote:
    """A voting rule of `VOTES` as it is applied, with its number where it takes one."""

    rule: str
    at_least: int | None = None

    @property
    def label(self) -> str:
        """The rule as tables name it."""
        return self.rule if self.at_least is None else f"{self.rule} {self.at_least}"

    @property
    def alone(self) -> bool:
        """Whether it takes one critique of its own, and none of the sampled ones."""
        return VOTES.get(self.rule).asks_one


@dataclass(frozen=True)
class Ballot:
    """A voting rule over the first k critiques.

    The first k are taken, not all subsets of size k: critiques are exchangeable, so what is measured is as unbiased,
    and it is what training with k critiques would have had.
    """

    vote: Vote
    k: int


def set_votes() -> tuple[Vote, ...]:
    """Return the rules that make a set of wrong steps, each by itself, out of k critiques with nothing to choose."""
    rules = {vote: VOTES.get(vote.rule) for vote in list_plain_votes()}
    return tuple(vote for vote, rule in rules.items() if rule.names_set and rule.step_by_step and not rule.asks_one)


def list_plain_votes() -> tuple[Vote, ...]:
    """Return every rule that needs no number."""
    return tuple(Vote(name) for name in VOTES.names() if not VOTES.get(name).takes_number)


def list_ballots(votes: Iterable[Vote], ks: Iterable[int]) -> tuple[Ballot, ...]:
    """Return every vote at every k at which it differs.

    A rule about one critique appears only at k = 1. A rule with a number m flags nothing below k = m, and appears from
    there on.
    """
    sizes = sorted(set(ks))
    return tuple(
        Ballot(vote, k)
        for vote in dict.fromkeys(votes)
        for k in ([1] if vote.alone else sizes)
        if (vote.at_least or 0) <= k
    )


def share_charged(flags: Flags, ballot: Ballot) -> FloatArray:
    """Return the penalty share of every step, shape (N,); NaN where none of the k critiques answered."""
    return combine(VOTES.get(ballot.vote.rule), flags.first(ballot.k), ballot.vote.at_least)


def call_wrong(flags: Flags, ballot: Ballot) -> list[BoolArray | None]:
    """Return which steps of each solution a vote calls wrong, shape (steps,); None where no critique answered."""
    called = np.split(share_charged(flags, ballot) >= FLAGGED, np.cumsum(flags.steps)[:-1])
    answered = flags.first(ballot.k).answered
    return [own if heard.any() else None for own, heard in zip(called, answered.T, strict=True)]


@dataclass(frozen=True)
class JudgedSteps:
    """B solutions with N steps in all, and what critiques say of them.

    Attributes:
        problems: What each solution shares chance with others by: intervals resample whole problems.
        truth: Whether each step is wrong, shape (N,); NaN where nobody knows.
    """

    problems: tuple[str, ...]
    truth: FloatArray
    flags: Flags

    @property
    def owner(self) -> IntArray:
        """The solution of each step, shape (N,)."""
        return np.repeat(np.arange(len(self.problems)), self.flags.steps)

    def ratings(self) -> tuple[IntArray, list[str]]:
        """Return for Krippendorff's alpha how many critiques call each step right and wrong, and the step's problem."""
        owner = self.owner
        flagged, heard = self.flags.flagged.sum(axis=0), self.flags.answered.sum(axis=0)[owner]
        counts = np.stack([heard - flagged, flagged], axis=1).astype(np.int64)
        return counts, [self.problems[row] for row in owner.tolist()]


@dataclass
class LabelTally:
    """Labels of steps by a vote over the first k critiques.

    Attributes:
        rollouts: Solutions voted on.
        uncritiqued: Those without an answer among the first k critiques; their labels do not count.
        critiques: Critiques asked, the first k of each solution.
        abstained: Those without a verdict.
        steps: Steps with a label.
        penalty: Sum of their penalty shares.
        compared: Steps with a label here and in training.
        agreeing: Those of them with the same label.
        counts: True and false positives, false and true negatives against the truth, by problem, shape (4,).
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

    def add(self, judged: JudgedSteps, k: int, shares: FloatArray, trained: FloatArray | None = None) -> None:
        """Count a batch with k critiques: penalty shares, here and in training, shape (N,), NaN without a vote."""
        voted = ~np.isnan(shares)
        answered = judged.flags.answered[:k]
        labels = shares >= FLAGGED
        self.rollouts += len(judged.problems)
        self.uncritiqued += int((~answered.any(axis=0)).sum())
        self.critiques += k * len(judged.problems)
        self.abstained += int((~answered).sum())
        self.steps += int(voted.sum())
        self.penalty += float(shares[voted].sum())
        if trained is not None:
            both = voted & ~np.isnan(trained)
            self.compared += int(both.sum())
            self.agreeing += int((labels == (trained >= FLAGGED))[both].sum())
        self._count(judged, voted & ~np.isnan(judged.truth), labels)

    def _count(self, judged: JudgedSteps, counted: BoolArray, labels: BoolArray) -> None:
        places = {problem: place for place, problem in enumerate(dict.fromkeys(judged.problems))}
        of_rollout = np.array([places[problem] for problem in judged.problems], dtype=np.int64)
        wrong = judged.truth == 1
        # Columns: flagged and wrong, flagged and right, not flagged and wrong, not flagged and right.
        column = np.where(labels, np.where(wrong, 0, 1), np.where(wrong, 2, 3))
        cells = (of_rollout[judged.owner] * 4 + column)[counted]
        table = np.bincount(cells, minlength=4 * len(places)).reshape(-1, 4).astype(np.float64)
        for problem, row in zip(places, table, strict=True):
            if row.any():
                self.counts[problem] = self.counts[problem] + row if problem in self.counts else row

    def row(self, critic: str, ballot: Ballot) -> Row:
        """Return how good the labels are, as a row of plain values: shares from 0 to 1, None where undefined.

        Precision and the like have the ends of their 95 % interval beside them, over whole problems.
        """
        scores = compute_scores(np.array(list(self.counts.values()), dtype=np.float64).reshape(-1, 4))
        shares = {name: getattr(scores, name) for name in ("precision", "recall", "f1", "false_alarm")}
        ends = (("", "value"), ("_low", "low"), ("_high", "high"))
        return {
            "critic": critic,
            "rule": ballot.vote.rule,
            "at_least": ballot.vote.at_least,
            "k": ballot.k,
            "rollouts": self.rollouts,
            "problems": len(self.counts),
            "labelled_steps": scores.steps,
            "wrong_steps": scores.wrong,
            "flagged_step_rate": divide(self.penalty, self.steps),
            **{f"{name}{end}": getattr(share, part) for name, share in shares.items() for end, part in ends},
            "label_agreement": divide(self.agreeing, self.compared),
            "abstained": divide(self.abstained, self.critiques),
            "uncritiqued": divide(self.uncritiqued, self.rollouts),
        }


def measure_quality(judged: JudgedSteps, critic: str, ballot: Ballot) -> Row:
    """Return `LabelTally.row` of a vote; a solution that none of the k critiques answered is in no score."""
    tally = LabelTally()
    tally.add(judged, ballot.k, share_charged(judged.flags, ballot))
    return tally.row(critic, ballot)


def divide(part: float, whole: float) -> float | None:
    """Return a share; None of nothing."""
    return part / whole if whole else None
