"""Rollouts as flat arrays: whole groups next to each other, the steps of all rollouts one after another.

All tokens of a step have one reward and one advantage, so credit is worked out once a step, shape (N,). What is summed
over tokens is laid out as training sees it, shape (B, T), with -1 or 0 for padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from trainers.credit.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Layout:
    """B rollouts with N steps in all, S steps and T tokens in the longest.

    Attributes:
        steps: How many steps each rollout has, shape (B,).
        tokens: How many tokens each step has, shape (N,).
    """

    steps: IntArray
    tokens: IntArray

    @cached_property
    def owner(self) -> IntArray:
        """Rollout of each step, shape (N,)."""
        return np.repeat(np.arange(len(self.steps)), self.steps)

    @cached_property
    def place(self) -> IntArray:
        """Which of its rollout's steps each is, shape (N,)."""
        return np.arange(len(self.tokens)) - np.repeat(self.starts, self.steps)

    @cached_property
    def starts(self) -> IntArray:
        """Where each rollout's first step is, shape (B,)."""
        return np.asarray(np.cumsum(self.steps) - self.steps)

    @cached_property
    def mask(self) -> BoolArray:
        """Which places hold a token, shape (B, T)."""
        lengths = np.bincount(self.owner, self.tokens, len(self.steps)).astype(np.int64)
        return np.asarray(np.arange(lengths.max(initial=0)) < lengths[:, None])

    @cached_property
    def index(self) -> IntArray:
        """Step of every token, shape (B, T); -1 for padding."""
        index = np.full(self.mask.shape, -1, dtype=np.int64)
        index[self.mask] = np.repeat(self.place, self.tokens)
        return index

    def square(self, values: FloatArray | IntArray) -> FloatArray:
        """Lay values of steps out as (B, S); 0 where a rollout has no such step."""
        laid = np.zeros((len(self.steps), int(self.steps.max(initial=1))))
        laid[self.owner, self.place] = values
        return laid

    def flat(self, laid: FloatArray) -> FloatArray:
        """Return what `square` laid out, shape (N,)."""
        return np.asarray(laid[self.owner, self.place])

    def by_token(self, values: FloatArray) -> FloatArray:
        """Give every token the value of its step, shape (B, T); 0 for padding."""
        laid = np.zeros(self.mask.shape)
        laid[self.mask] = np.repeat(values, self.tokens)
        return laid

    def response_means(self, values: FloatArray) -> FloatArray:
        """Return the mean of values (N,) over each rollout's tokens, shape (B,); NaN where one is or without tokens."""
        tokens = np.bincount(self.owner, self.tokens, len(self.steps))
        sums = np.bincount(self.owner, self.tokens * values, len(self.steps))
        means: FloatArray = np.divide(sums, tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)
        return means


def layout_of(tokens: Iterable[Sequence[int]]) -> Layout:
    """Return the layout of rollouts, given how many tokens each of their steps has."""
    rows = list(tokens)
    steps = np.fromiter(map(len, rows), np.int64, len(rows))
    return Layout(steps, np.fromiter((count for row in rows for count in row), np.int64, int(steps.sum())))


@dataclass(frozen=True)
class Evidence:
    """What is known of the steps of rollouts; a method uses some of it, and what is not there is None.

    Attributes:
        shares: Penalty share of each step by a vote over critiques, shape (N,); NaN where no critique answered.
        scores: Probability that each step is right by a process reward model, shape (N,); NaN without one.
        values: Q, the chance of a right answer after each step, shape (N,); NaN where it was not counted.
        before: The same before each step, shape (N,); of a first step, V of the problem.
        states: What a solution says up to each step, as a number, shape (N,): equal where problem and text so far are.
    """

    shares: FloatArray | None = None
    scores: FloatArray | None = None
    values: FloatArray | None = None
    before: FloatArray | None = None
    states: FloatArray | None = None

    def given(self, name: str) -> FloatArray:
        """Return the evidence of a name.

        Raises:
            ValueError: There is none.
        """
        values: FloatArray | None = getattr(self, name)
        if values is None:
            raise ValueError(f"this method reads the {name} of steps, and none are given")
        return values


@dataclass(frozen=True)
class Batch:
    """Whole groups of rollouts with what is known of them.

    Attributes:
        layout: Their steps and tokens.
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier could not say.
        group_size: G.
        evidence: What is known of their steps.

    Raises:
        ValueError: The rollouts do not make whole groups.
    """

    layout: Layout
    outcomes: FloatArray
    group_size: int
    evidence: Evidence = field(default_factory=Evidence)

    def __post_init__(self) -> None:
        if len(self.outcomes) % self.group_size:
            raise ValueError(
                f"{len(self.outcomes)} rollouts do not make groups of {self.group_size}; give whole groups"
            )


@dataclass(frozen=True)
class Earned:
    """What the steps of a batch have earned.

    Attributes:
        advantages: Advantage of the tokens of each step, shape (N,); 0 where the method has nothing to say.
        rewards: Reward of the tokens of each step, shape (N,), as the method defines it; NaN where there is none.
        charges: Penalty share that the tokens of each step are charged, shape (N,), where the method charges steps; NaN
            for a rollout of which no critique answered.
    """

    advantages: FloatArray
    rewards: FloatArray | None = None
    charges: FloatArray | None = None


def process_signal_only(batch: Batch, advantages: FloatArray) -> float:
    """Return the share of groups whose outcomes are all equal but whose tokens have advantages; NaN without a group.

    Args:
        batch: Outcomes, NaN where unknown, and steps.
        advantages: Of each step, shape (N,).
    """
    verified = ~np.isnan(batch.outcomes)
    lowest = np.where(verified, batch.outcomes, np.inf).reshape(-1, batch.group_size).min(axis=1)
    highest = np.where(verified, batch.outcomes, -np.inf).reshape(-1, batch.group_size).max(axis=1)
    heard = (advantages != 0) & (batch.layout.tokens > 0)
    signal = np.bincount(batch.layout.owner, heard, len(verified)).reshape(-1, batch.group_size).any(axis=1)
    alone = (highest <= lowest) & signal
    return float(alone.mean()) if alone.size else float("nan")
