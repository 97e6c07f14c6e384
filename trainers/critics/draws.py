"""Share the random draws of critics: the same in any batch, in any order and after a resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from evals.benchmarks import Benchmark
from evals.models.draws import draw_numbers
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.credit.critique import Critique
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings

Probability = Annotated[float, Field(ge=0, le=1)]


class DrawnParams(CriticParams):
    """Base of the settings of a critic with random flags; a subclass says what it flags."""

    def flags(self, solution: Solution, benchmark: Benchmark, draws: FloatArray) -> BoolArray:
        """Return which steps each critique flags, shape (k, steps), from numbers in [0, 1) of that shape."""
        raise NotImplementedError

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic; it draws with the trial's seed."""
        return DrawingCritic(self, surroundings)


class DrawingCritic:
    """A critic with random flags, which depend only on the seed, the problem, the steps and the critique's index.

    There is no most likely critique, so `greedy` has no effect: critique 0 is the same with and without it.
    """

    eager = False

    def __init__(self, params: DrawnParams, surroundings: Surroundings) -> None:
        self._params, self._surroundings = params, surroundings

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return k independent draws for each solution."""
        return [self._critiques(solution, first, k) for solution in solutions]

    async def close(self) -> None:
        """Do nothing: this critic holds no resources."""
        return

    def _critiques(self, solution: Solution, first: int, k: int) -> list[Critique]:
        draws = draw_for_steps(self._surroundings.seed, solution, k, first)
        flags = self._params.flags(solution, self._surroundings.benchmark, draws)
        return [Critique(frozenset(np.flatnonzero(row).tolist())) for row in flags]


def draw_for_steps(seed: int, solution: Solution, k: int, first: int = 0) -> FloatArray:
    """Return a number in [0, 1) for each of the critiques `first` to `first + k - 1` and each step, shape (k, steps).

    A row depends on its critique's index alone: requesting more critiques does not change the first ones.
    """
    key = json.dumps([seed, solution.problem.id, solution.steps]).encode()
    draws: FloatArray = draw_numbers([key], first, k, len(solution.steps))[0]
    return draws
