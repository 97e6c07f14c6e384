"""Settings to replay: a vote over the first k critiques, and the weights of outcome and process.

Steps and normalisation are those of each trial's training.
"""

from __future__ import annotations

from dataclasses import dataclass

from capo_bench.critic.quality import Ballot, Vote
from evals.metrics import list_ks
from trainers.config import CreditConfig
from trainers.credit.votes import VOTES

DEEPEST = 4
"""Every k up to this is replayed by default, above it powers of two and the stored K."""


@dataclass(frozen=True, order=True)
class Weights:
    """W_whole and W_process."""

    whole: float
    process: float

    @property
    def label(self) -> str:
        """Name of the pair in tables and options."""
        return f"{self.whole:g},{self.process:g}"


@dataclass(frozen=True)
class VoteSetting:
    """One way to turn stored critiques into token rewards."""

    ballot: Ballot
    weights: Weights


def find_trained_setting(credit: CreditConfig) -> VoteSetting:
    """Return the setting of a trial's training."""
    ballot = Ballot(Vote(credit.vote, credit.at_least), credit.critiques)
    return VoteSetting(ballot, Weights(credit.w_whole, credit.w_process))


def parse_vote(text: str) -> Vote:
    """Return the vote of a name; a rule with a number is written ``at_least:2``.

    Raises:
        ValueError: No rule has this name, or the number is missing, superfluous or below 1.
    """
    name, _, number = text.strip().partition(":")
    if VOTES.get(name).takes_number != (number.isdecimal() and int(number) > 0):
        takes = "takes the number of critiques that must agree" if VOTES.get(name).takes_number else "takes no number"
        raise ValueError(f"rule {text.strip()!r}: {name!r} {takes}; write at_least:2, or majority")
    return Vote(name, int(number) if number else None)


def parse_weights(text: str) -> Weights:
    """Return the weights of a text such as ``2,0.5``.

    Raises:
        ValueError: These are not two numbers of at least 0.
    """
    try:
        whole, process = (float(part) for part in text.split(","))
    except ValueError:
        whole = process = float("nan")
    if not (0 <= whole < float("inf") and 0 <= process < float("inf")):
        raise ValueError(f"weights {text!r}: give W_whole and W_process, two numbers from 0, such as 2,0.5")
    return Weights(whole, process)


def choose_ks(stored: int) -> tuple[int, ...]:
    """Return the k that are replayed by default, given the number of stored critiques."""
    return tuple(sorted({*range(1, min(stored, DEEPEST) + 1), *list_ks(stored)}))
