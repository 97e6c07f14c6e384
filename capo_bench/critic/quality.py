"""How good votes over critiques are, by rule and k, through the voting code of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evals.critics.labels import StepLabels
from evals.critics.metrics import StepScores, step_scores
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.critique import Critique
from trainers.credit.votes import VOTES, combine, flags_of

FLAGGED = 0.5
"""A rule that returns shares (`average`) flags a step from this share on, which for `average` is majority."""


@dataclass(frozen=True)
class Vote:
    """A voting rule of `VOTES` as it is applied, with its number where it takes one."""

    heading: ClassVar[str] = "critiques"
    """What tables call the column of labels."""

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
class VoteQuality:
    """How good a rule is over the first k critiques of each solution.

    Attributes:
        solutions: Solutions that at least one of the k critiques answered; only they are scored.
        unanswered: Solutions that none answered.
    """

    vote: Vote
    k: int
    solutions: int
    unanswered: int
    scores: StepScores


def set_votes() -> tuple[Vote, ...]:
    """Return the rules that make a set of wrong steps, each by itself, out of k critiques with nothing to choose."""
    rules = {vote: VOTES.get(vote.rule) for vote in plain_votes()}
    return tuple(vote for vote, rule in rules.items() if rule.names_set and rule.step_by_step and not rule.asks_one)


def plain_votes() -> tuple[Vote, ...]:
    """Return every rule that needs no number."""
    return tuple(Vote(name) for name in VOTES.names() if not VOTES.get(name).takes_number)


def penalties(critiques: Sequence[Critique], steps: int, vote: Vote) -> FloatArray | None:
    """Return the penalty share of each step as training would charge it, shape (steps,); None without an answer."""
    flags = flags_of([critiques], [steps])
    return combine(VOTES.get(vote.rule), flags, vote.at_least) if flags.answered.any() else None


def voted_wrong(critiques: Sequence[Critique], steps: int, vote: Vote) -> BoolArray | None:
    """Return which steps a vote calls wrong, shape (steps,); None without an answer."""
    shares = penalties(critiques, steps, vote)
    return None if shares is None else np.asarray(shares >= FLAGGED)


def quality(
    critiques: Sequence[Sequence[Critique]],
    labels: Sequence[StepLabels],
    votes: Sequence[Vote],
    ks: Sequence[int],
) -> list[VoteQuality]:
    """Score every rule on the first k critiques of every solution, for every k.

    The first k are taken, not all subsets of size k: critiques are exchangeable, so the estimate is as unbiased, and
    it is what training with k critiques would have had.

    Args:
        critiques: Critiques of each solution, abstentions among them.
        labels: Labels of the same solutions.
        votes: Rules; one whose `at_least` is above k is left out at that k.
        ks: How many critiques to vote over; a solution with fewer than k has none to add.
    """
    pairs = [(vote, k) for vote in votes for k in ks if (vote.at_least or 0) <= k]
    return [_quality(critiques, labels, vote, k) for vote, k in pairs]


def _quality(critiques: Sequence[Sequence[Critique]], labels: Sequence[StepLabels], vote: Vote, k: int) -> VoteQuality:
    flags = [voted_wrong(row[:k], label.steps, vote) for row, label in zip(critiques, labels, strict=True)]
    answered = [(flag, label) for flag, label in zip(flags, labels, strict=True) if flag is not None]
    scores = step_scores([flag for flag, _ in answered], [label for _, label in answered])
    return VoteQuality(vote, k, len(answered), len(flags) - len(answered), scores)


def flat_shares(scores: StepScores) -> dict[str, float | None]:
    """Return precision and the like by name, each with the ends of its interval: ``f1``, ``f1_low``, ``f1_high``."""
    shares = {name: getattr(scores, name) for name in ("precision", "recall", "f1", "false_alarm")}
    ends = (("", "value"), ("_low", "low"), ("_high", "high"))
    return {f"{name}{end}": getattr(share, part) for name, share in shares.items() for end, part in ends}
