"""Voting rules: from the critiques of one rollout to a penalty per step (paper, section on voting).

A rule is given the flags of the critiques that answered, shape (k', steps), and returns the share of W_process that
each step is charged, shape (steps,), in [0, 1]. Rules that name a set of wrong steps return only 0 and 1.

A critique that abstained has no row: intersection, majority, union and average are taken over the k' that answered,
and `at_least` m still asks for m flags, so that missing critiques never make a step look worse. With no answer at all
there is no penalty to speak of (`combine` returns None) and the rollout keeps its outcome reward alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from evals.registry import Registry
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.critique import Critique

VotingRule = Callable[[BoolArray, int | None], FloatArray]


def greedy(flags: BoolArray, at_least: int | None = None) -> FloatArray:
    """Penalise what the first critique flags; meant for the one critique at temperature 0."""
    return np.asarray(flags[0], dtype=np.float64)


def intersection(flags: BoolArray, at_least: int | None = None) -> FloatArray:
    """Penalise what all critiques flag."""
    return np.asarray(flags.all(axis=0), dtype=np.float64)


def majority(flags: BoolArray, at_least: int | None = None) -> FloatArray:
    """Penalise what at least half of the critiques flag: one of two is enough."""
    return np.asarray(2 * flags.sum(axis=0) >= flags.shape[0], dtype=np.float64)


def union(flags: BoolArray, at_least: int | None = None) -> FloatArray:
    """Penalise what any critique flags."""
    return np.asarray(flags.any(axis=0), dtype=np.float64)


def average(flags: BoolArray, at_least: int | None = None) -> FloatArray:
    """Charge each step the share of critiques that flag it."""
    return np.asarray(flags.mean(axis=0), dtype=np.float64)


def at_least(flags: BoolArray, at_least: int | None = None) -> FloatArray:
    """Penalise what `at_least` critiques flag.

    Raises:
        ValueError: `at_least` is missing or below 1.
    """
    if at_least is None or at_least < 1:
        raise ValueError(
            f"vote 'at_least' with at_least {at_least}: set the number of critiques that must agree, from 1"
        )
    return np.asarray(flags.sum(axis=0) >= at_least, dtype=np.float64)


def flag_matrix(critiques: Sequence[Critique], steps: int) -> BoolArray:
    """Return what the critiques that answered flag, shape (k', steps).

    Raises:
        ValueError: A critique names a step that is not there; `assign.checked` turns such a critique into an
            abstention first.
    """
    rows = [critique.wrong for critique in critiques if critique.wrong is not None]
    flags = np.zeros((len(rows), steps), dtype=np.bool_)
    for row, wrong in enumerate(rows):
        if wrong and not 0 <= min(wrong) <= max(wrong) < steps:
            raise ValueError(f"a critique names the steps {sorted(wrong)} of a solution with {steps}; numbered from 0")
        for step in wrong:
            flags[row, step] = True
    return flags


def combine(rule: VotingRule, flags: BoolArray, at_least: int | None = None) -> FloatArray | None:
    """Apply a voting rule.

    Args:
        rule: From `VOTES`.
        flags: What each critique that answered flags, shape (k', steps).
        at_least: For the rule of that name.

    Returns:
        Penalty share of each step, shape (steps,); None if no critique answered.
    """
    return rule(flags, at_least) if flags.shape[0] else None


def vote_agreement(flags: BoolArray) -> float | None:
    """Return the chance that two of the critiques say the same of a step: the mean over pairs and steps.

    None where there is no pair to compare (fewer than two answered) or no step.
    """
    voters, steps = flags.shape
    if voters < 2 or not steps:
        return None
    for_ = flags.sum(axis=0, dtype=np.float64)
    against = voters - for_
    agreeing = (for_ * (for_ - 1) + against * (against - 1)) / 2
    return float(agreeing.mean() / (voters * (voters - 1) / 2))


VOTES: Registry[VotingRule] = Registry(
    "voting rule",
    "capo_bench.votes",
    {
        name: f"trainers.credit.votes:{name}"
        for name in ("greedy", "intersection", "majority", "union", "average", "at_least")
    },
)
