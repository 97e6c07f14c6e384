"""Define the exact critic: the benchmark's own step checker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from evals.benchmarks import Benchmark
from trainers.credit.critique import Critique
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings


class ExactCritic:
    """Flags exactly the steps that are wrong in themselves; all k critiques of a solution are equal.

    A step that is right in itself but builds on an earlier slip is not flagged: a step is judged on its own correctness
    (paper, section on critiques).
    """

    def __init__(self, benchmark: Benchmark) -> None:
        self._benchmark = benchmark

    eager = False

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return k equal critiques of each solution."""
        return [[Critique(find_wrong_steps(self._benchmark, solution))] * k for solution in solutions]

    async def close(self) -> None:
        """Do nothing: this critic holds no resources."""


def find_wrong_steps(benchmark: Benchmark, solution: Solution) -> frozenset[int]:
    """Return the indices of the steps that are wrong in themselves."""
    return benchmark.check_steps(solution.problem, solution.steps).wrong


class ExactParams(CriticParams):
    """Settings of the exact critic; there are none."""

    asks_checker: ClassVar[bool] = True
    name: Literal["exact"] = "exact"

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic; it draws no random numbers, so the seed is not used."""
        return ExactCritic(surroundings.benchmark)
