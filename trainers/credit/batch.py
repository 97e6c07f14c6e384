"""Represent rollouts as flat arrays: groups are adjacent, and the steps of all rollouts follow one another.

All tokens of a step have one reward and one advantage, so credit is computed once per step, shape (N,). Sums over
tokens use the layout of training, shape (B, T), with -1 or 0 for padding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from trainers.credit.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Layout:
    """The steps and tokens of B rollouts with N steps in total, at most S steps and T tokens each.

    Attributes:
        steps: Number of steps of each rollout, shape (B,).
        tokens: Number of tokens of each step, shape (N,).
    """

    steps: IntArray
    tokens: IntArray

    @cached_property
    def owner(self) -> IntArray:
        """Rollout of each step, shape (N,)."""
        return np.repeat(np.arange(len(self.steps)), self.steps)

    @cached_property
    def place(self) -> IntArray:
        """Index of each step within its rollout, shape (N,)."""
        return np.arange(len(self.tokens)) - np.repeat(self.starts, self.steps)

    @cached_property
    def starts(self) -> IntArray:
        """Index of each rollout's first step, shape (B,)."""
        return np.asarray(np.cumsum(self.steps) - self.steps)

    @cached_property
    def mask(self) -> BoolArray:
        """True where there is a token, False for padding, shape (B, T)."""
        lengths = np.bincount(self.owner, self.tokens, len(self.steps)).astype(np.int64)
        return np.asarray(np.arange(lengths.max(initial=0)) < lengths[:, None])

    @cached_property
    def index(self) -> IntArray:
        """Step of every token, shape (B, T); -1 for padding."""
        index = np.full(self.mask.shape, -1, dtype=np.int64)
        index[self.mask] = np.repeat(self.place, self.tokens)
        return index

    def square(self, values: FloatArray | IntArray) -> FloatArray:
        """Return values of steps as a table (B, S); 0 where a rollout has no such step."""
        laid = np.zeros((len(self.steps), int(self.steps.max(initial=1))))
        laid[self.owner, self.place] = values
        return laid

    def flat(self, laid: FloatArray) -> FloatArray:
        """Return the values of a table from `square` as one value per step, shape (N,)."""
        return np.asarray(laid[self.owner, self.place])

    def by_token(self, values: FloatArray) -> FloatArray:
        """Return the value of each token's step, shape (B, T); 0 for padding."""
        laid = np.zeros(self.mask.shape)
        laid[self.mask] = np.repeat(values, self.tokens)
        return laid

    def response_means(self, values: FloatArray) -> FloatArray:
        """Return the mean of `values` (N,) over each rollout's tokens, shape (B,).

        The mean is NaN for a rollout without tokens or with a NaN value.
        """
        tokens = np.bincount(self.owner, self.tokens, len(self.steps))
        sums = np.bincount(self.owner, self.tokens * values, len(self.steps))
        means: FloatArray = np.divide(sums, tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)
        return means


def lay_out(tokens: Iterable[Sequence[int]]) -> Layout:
    """Return the layout of rollouts, given the number of tokens of each of their steps."""
    rows = list(tokens)
    steps = np.fromiter(map(len, rows), np.int64, len(rows))
    return Layout(steps, np.fromiter((count for row in rows for count in row), np.int64, int(steps.sum())))


@dataclass(frozen=True)
class Evidence:
    """Evidence about the steps of rollouts. A method uses some of it; missing evidence is None.

    Attributes:
        shares: Penalty share of each step by a vote over critiques, shape (N,); NaN where no critique answered.
        scores: Probability by a process reward model that each step is right, shape (N,); NaN where there is no score.
        values: Q, the probability of a right answer after each step, shape (N,); NaN where it was not estimated.
        before: The same probability before each step, shape (N,); for the first step this is V of the problem.
        states: The solution's text up to and including each step, hashed to a number, shape (N,). Steps have equal
            numbers if their problem and their text so far are equal.
    """

    shares: FloatArray | None = None
    scores: FloatArray | None = None
    values: FloatArray | None = None
    before: FloatArray | None = None
    states: FloatArray | None = None

    def given(self, name: str) -> FloatArray:
        """Return the evidence with this name.

        Raises:
            ValueError: The batch does not have this evidence.
        """
        values: FloatArray | None = getattr(self, name)
        if values is None:
            raise ValueError(f"this method reads the {name} of steps, and none are given")
        return values


@dataclass(frozen=True)
class Batch:
    """Complete groups of rollouts with the evidence about their steps.

    Attributes:
        layout: Their steps and tokens.
        outcomes: r_v of each rollout, shape (B,); NaN where the answer could not be verified.
        group_size: G.
        evidence: Evidence about their steps.

    Raises:
        ValueError: The number of rollouts is not a multiple of the group size.
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
    """Advantages and rewards of the steps of a batch.

    Attributes:
        advantages: Advantage of the tokens of each step, shape (N,); 0 where the method gives no signal.
        rewards: Reward of the tokens of each step, shape (N,), as the method defines it; NaN where there is none.
        charges: Penalty share that the tokens of each step are charged, shape (N,), if the method charges steps; NaN
            for a rollout for which no critique answered.
    """

    advantages: FloatArray
    rewards: FloatArray | None = None
    charges: FloatArray | None = None


def process_signal_only(batch: Batch, advantages: FloatArray) -> float:
    """Return the share of groups whose outcomes are all equal but whose tokens have non-zero advantages.

    Args:
        batch: Outcomes (NaN where unknown) and steps.
        advantages: Advantage of each step, shape (N,).

    Returns:
        The share; NaN if there is no group.
    """
    verified = ~np.isnan(batch.outcomes)
    lowest = np.where(verified, batch.outcomes, np.inf).reshape(-1, batch.group_size).min(axis=1)
    highest = np.where(verified, batch.outcomes, -np.inf).reshape(-1, batch.group_size).max(axis=1)
    heard = (advantages != 0) & (batch.layout.tokens > 0)
    signal = np.bincount(batch.layout.owner, heard, len(verified)).reshape(-1, batch.group_size).any(axis=1)
    alone = (highest <= lowest) & signal
    return float(alone.mean()) if alone.size else float("nan")
