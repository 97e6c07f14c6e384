"""Voting rules: combine the critiques of rollouts into a penalty per step (paper, section on voting).

A rule's function takes the flags of the critiques that answered, shape (k', steps), and returns the share of W_process
that each step is charged, shape (steps,), in [0, 1]. All other properties of a rule are attributes of its value
(`VotingRule`): no code outside this file checks a rule's name.

A critique that abstained has no row. Intersection, majority, union and average use the k' critiques that answered.
`at_least` m still requires m flags, so that missing critiques never make a step look worse. If no critique answered,
the penalty is undefined (NaN) and the rollout keeps its outcome reward alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evals.registry import Registry
from trainers.credit.arrays import BoolArray, FloatArray, IntArray
from trainers.credit.batch import Layout
from trainers.credit.critique import Critique, check_critique


@dataclass(frozen=True)
class VotingRule:
    """A voting rule.

    Attributes:
        shares: Function from the flags of the critiques that answered and the rule's number to penalty shares.
        takes_number: Whether the rule needs a number of critiques that must agree (`credit.at_least`).
        names_set: Whether the rule names a set of wrong steps: all shares are 0 or 1.
        asks_one: Whether the rule uses one critique, at temperature 0 if the critic samples.
        step_by_step: Whether the rule judges each step by the flags of that step alone. If so, the steps of many
            rollouts can be passed at once; otherwise the rule is called once per rollout.
    """

    shares: Callable[[BoolArray, int | None], FloatArray]
    takes_number: bool = False
    names_set: bool = True
    asks_one: bool = False
    step_by_step: bool = True


def greedy(flags: BoolArray, number: int | None) -> FloatArray:
    """Penalise what the first critique flags; meant for a single critique at temperature 0."""
    return np.asarray(flags[0], dtype=np.float64)


def intersection(flags: BoolArray, number: int | None) -> FloatArray:
    """Penalise what all critiques flag."""
    return np.asarray(flags.all(axis=0), dtype=np.float64)


def majority(flags: BoolArray, number: int | None) -> FloatArray:
    """Penalise what at least half of the critiques flag: one of two is enough."""
    return np.asarray(2 * flags.sum(axis=0) >= flags.shape[0], dtype=np.float64)


def union(flags: BoolArray, number: int | None) -> FloatArray:
    """Penalise what any critique flags."""
    return np.asarray(flags.any(axis=0), dtype=np.float64)


def average(flags: BoolArray, number: int | None) -> FloatArray:
    """Charge each step the share of critiques that flag it."""
    return np.asarray(flags.mean(axis=0), dtype=np.float64)


def at_least(flags: BoolArray, number: int | None) -> FloatArray:
    """Penalise steps that at least `number` critiques flag.

    Raises:
        ValueError: The number is missing or below 1.
    """
    if number is None or number < 1:
        raise ValueError(f"vote 'at_least' with at_least {number}: set the number of critiques that must agree, from 1")
    return np.asarray(flags.sum(axis=0) >= number, dtype=np.float64)


def first_index(flags: BoolArray, number: int | None) -> FloatArray:
    """Penalise the step that most critiques call the first wrong one; none if "no error" is the most frequent verdict.

    This is ProcessBench's vote over critiques (arXiv 2412.06559). Among equally frequent verdicts, the one that
    occurred first wins.
    """
    firsts = [int(row.argmax()) if row.any() else -1 for row in flags]
    return np.asarray(np.arange(flags.shape[1]) == max(firsts, key=firsts.count), dtype=np.float64)


GREEDY = VotingRule(greedy, asks_one=True)
INTERSECTION = VotingRule(intersection)
MAJORITY = VotingRule(majority)
UNION = VotingRule(union)
AVERAGE = VotingRule(average, names_set=False)
AT_LEAST = VotingRule(at_least, takes_number=True)
FIRST_INDEX = VotingRule(first_index, step_by_step=False)

VOTES: Registry[VotingRule] = Registry(
    "voting rule",
    "capo_bench.votes",
    {
        name: f"trainers.credit.votes:{name.upper()}"
        for name in ("greedy", "intersection", "majority", "union", "average", "at_least", "first_index")
    },
)


@dataclass(frozen=True)
class Flags:
    """The flags of K critiques of each of B rollouts with N steps in total.

    Attributes:
        steps: Number of steps of each rollout, shape (B,).
        flagged: Steps that each critique flags, shape (K, N); False where it abstained.
        answered: Whether each critique of each rollout has a verdict, shape (K, B); False where a rollout lacks a
            critique.
    """

    steps: IntArray
    flagged: BoolArray
    answered: BoolArray

    def first(self, k: int) -> Flags:
        """Return the flags of the first k critiques."""
        return Flags(self.steps, self.flagged[:k], self.answered[:k])


def build_flags(
    critiques: Sequence[Sequence[Critique]], steps: Sequence[int] | IntArray, most: int | None = None
) -> Flags:
    """Return the flags of critiques as arrays.

    A critique that names a step that does not exist counts as an abstention.

    Args:
        critiques: The critiques of each rollout, including abstentions.
        steps: Number of steps of each rollout.
        most: K, the number of critiques per rollout that are used; all by default.

    Raises:
        ValueError: The arguments have different batch sizes.
    """
    counts = np.asarray(steps, dtype=np.int64)
    if len(critiques) != len(counts):
        raise ValueError(f"critiques of {len(critiques)} rollouts and steps of {len(counts)}; give those of one batch")
    k = max(map(len, critiques), default=0) if most is None else most
    flagged = np.zeros((k, int(counts.sum())), dtype=np.bool_)
    answered = np.zeros((k, len(counts)), dtype=np.bool_)
    voters, places = list[int](), list[int]()
    for row, (judgments, start, count) in enumerate(
        zip(critiques, (np.cumsum(counts) - counts).tolist(), counts.tolist(), strict=True)
    ):
        for number, critique in enumerate(judgments[:k]):
            wrong = check_critique(critique, count).wrong
            if wrong is not None:
                answered[number, row] = True
                voters += [number] * len(wrong)
                places += [start + step for step in wrong]
    flagged[voters, places] = True
    return Flags(counts, flagged, answered)


def combine(rule: VotingRule, flags: Flags, number: int | None = None) -> FloatArray:
    """Return the penalty share of every step, shape (N,); NaN where no critique answered.

    Args:
        rule: From `VOTES`.
        flags: The flags of the critiques.
        number: For a rule that takes one.
    """
    shares = np.full(int(flags.steps.sum()), np.nan)
    owner = np.repeat(np.arange(len(flags.steps)), flags.steps)
    voters = flags.answered.sum(axis=0)
    together = voters if rule.step_by_step else np.where(voters > 0, np.arange(1, len(voters) + 1), 0)
    # Critiques that answered come first, in their own order, because an abstention has no row.
    order = np.argsort(~flags.answered, axis=0, kind="stable")
    for kind in np.unique(together[together > 0]).tolist():
        columns = np.flatnonzero(together[owner] == kind)
        if columns.size:
            rows = order[: voters[owner[columns[0]]]][:, owner[columns]]
            shares[columns] = rule.shares(np.take_along_axis(flags.flagged[:, columns], rows, axis=0), number)
    return shares


def vote_agreement(flags: Flags) -> FloatArray:
    """Return for each rollout the probability that two of its critiques agree on a step, shape (B,).

    It is the mean over pairs of critiques that answered and over steps; NaN without a pair or a step.
    """
    owner = np.repeat(np.arange(len(flags.steps)), flags.steps)
    voters = flags.answered.sum(axis=0).astype(np.float64)
    for_ = flags.flagged.sum(axis=0, dtype=np.float64)
    against = voters[owner] - for_
    agreeing = np.bincount(owner, (for_ * (for_ - 1) + against * (against - 1)) / 2, len(voters))
    pairs = voters * (voters - 1) / 2
    defined = (pairs > 0) & (flags.steps > 0)
    mean = agreeing / np.maximum(flags.steps, 1)
    return np.where(defined, mean / np.where(defined, pairs, 1.0), np.nan)


def vote_metrics(flags: Flags, shares: FloatArray) -> dict[str, float]:
    """Return metrics of critiques and votes under their names in step records; undefined metrics are NaN.

    ``flagged_step_rate`` is the mean penalty share of steps over the rollouts for which a critique answered,
    ``vote_agreement`` the mean of `vote_agreement`, and ``uncritiqued`` the number of rollouts without a verdict.
    """
    agreements = vote_agreement(flags)
    return {
        "flagged_step_rate": _compute_mean(shares[~np.isnan(shares)]),
        "vote_agreement": _compute_mean(agreements[~np.isnan(agreements)]),
        "uncritiqued": float((~flags.answered.any(axis=0)).sum()),
    }


def measure_charges(layout: Layout, charges: FloatArray) -> dict[str, float]:
    """Return ``penalised_tokens``: the mean charge of tokens, NaN if no charge is known.

    Args:
        layout: Steps and tokens of the rollouts.
        charges: Charge of the tokens of each step, shape (N,); NaN for a rollout for which no critique answered.
    """
    charged = ~np.isnan(charges)
    return {"penalised_tokens": _compute_mean(np.repeat(charges[charged], layout.tokens[charged]))}


def _compute_mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")
