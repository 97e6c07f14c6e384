"""Stored rollouts as arrays: some optimizer steps of one trial, whole groups next to each other.

Of a critic that was asked about answers, the answer stands in the place of a rollout's one step, and the verifier's
word in the place of the exact checker's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainers.credit.arrays import BoolArray, FloatArray, IntArray
from trainers.credit.assign import checked
from trainers.rollouts import Rollout


@dataclass(frozen=True)
class Batch:
    """B rollouts with N steps in all, laid out one after another, S steps and T tokens in the longest.

    Attributes:
        problems: Problem of each rollout.
        steps: How many steps each rollout has, shape (B,).
        owner: Rollout of each step, shape (N,).
        place: Which of its rollout's steps it is, shape (N,).
        tokens: How many tokens each step has, shape (N,).
        index: Step of every token as in training, shape (B, T); -1 for padding.
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier could not say.
        truth: Whether each step is wrong by the exact checker, shape (N,); NaN where there is none.
        flags: What each critique flags, shape (K, N); nothing where it abstained.
        answered: Which critiques of each rollout have a verdict, shape (K, B).
    """

    problems: tuple[str, ...]
    steps: IntArray
    owner: IntArray
    place: IntArray
    tokens: IntArray
    index: IntArray
    outcomes: FloatArray
    truth: FloatArray
    flags: BoolArray
    answered: BoolArray

    @property
    def mask(self) -> BoolArray:
        """Which tokens are a completion's, shape (B, T)."""
        return np.asarray(self.index >= 0)

    def square(self, values: FloatArray) -> FloatArray:
        """Lay values of steps out as (B, S); 0 where a rollout has no such step."""
        laid = np.zeros((len(self.steps), int(self.steps.max(initial=1))))
        laid[self.owner, self.place] = values
        return laid


def batch_of(rollouts: Sequence[Rollout], critiques: int) -> Batch:
    """Lay rollouts out.

    Args:
        rollouts: Whole groups next to each other.
        critiques: K, how many critiques of each are used; one that a rollout lacks counts as an abstention.
    """
    rollouts = [rollout if rollout.aim == "steps" else as_answer(rollout) for rollout in rollouts]
    steps = np.array([len(rollout.steps) for rollout in rollouts], dtype=np.int64)
    tokens = np.fromiter((count for rollout in rollouts for count in rollout.tokens), np.int64, int(steps.sum()))
    starts = np.cumsum(steps) - steps
    flags, answered = _verdicts(rollouts, starts, critiques, len(tokens))
    return Batch(
        problems=tuple(rollout.problem for rollout in rollouts),
        steps=steps,
        owner=np.repeat(np.arange(len(steps)), steps),
        place=np.arange(len(tokens)) - np.repeat(starts, steps),
        tokens=tokens,
        index=step_index([rollout.tokens for rollout in rollouts]),
        outcomes=np.array([np.nan if row.outcome is None else row.outcome for row in rollouts], dtype=np.float64),
        truth=_truth(rollouts, starts, steps, len(tokens)),
        flags=flags,
        answered=answered,
    )


def as_answer(rollout: Rollout) -> Rollout:
    """Return the rollout with its answer as its one step, wrong where the verifier says so."""
    truth = None if rollout.outcome is None else frozenset[int]() if rollout.outcome else frozenset({0})
    return replace(rollout, steps=(rollout.text,), tokens=(sum(rollout.tokens),), truth=truth)


def step_index(tokens: Iterable[Sequence[int]]) -> IntArray:
    """Return the step of every token, shape (B, T), -1 for padding; as in training, steps follow one another.

    Args:
        tokens: How many tokens each step of each rollout has.
    """
    rows = [np.repeat(np.arange(len(counts)), counts) for counts in tokens]
    index = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=np.int64)
    for row, steps in enumerate(rows):
        index[row, : len(steps)] = steps
    return index


def _verdicts(rollouts: Sequence[Rollout], starts: IntArray, critiques: int, steps: int) -> tuple[BoolArray, BoolArray]:
    flags = np.zeros((critiques, steps), dtype=np.bool_)
    answered = np.zeros((critiques, len(rollouts)), dtype=np.bool_)
    voters, places = [], []
    for row, (rollout, start) in enumerate(zip(rollouts, starts.tolist(), strict=True)):
        for number, critique in enumerate(rollout.critiques[:critiques]):
            wrong = checked(critique, len(rollout.steps)).wrong
            if wrong is not None:
                answered[number, row] = True
                voters += [number] * len(wrong)
                places += [start + step for step in wrong]
    flags[voters, places] = True
    return flags, answered


def _truth(rollouts: Sequence[Rollout], starts: IntArray, counts: IntArray, steps: int) -> FloatArray:
    known = np.array([rollout.truth is not None for rollout in rollouts], dtype=np.bool_)
    truth = np.where(np.repeat(known, counts), 0.0, np.nan)
    wrong = [start + step for row, start in zip(rollouts, starts.tolist(), strict=True) for step in row.truth or ()]
    truth[wrong] = 1.0
    return truth
