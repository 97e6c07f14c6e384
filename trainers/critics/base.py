"""The interface of a critic: a batch of solutions and k in, k critiques of each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.benchmarks import Benchmark, Problem
from evals.config import Strict
from trainers.credit.critique import Critique


@dataclass(frozen=True)
class Solution:
    """One rollout as a critic sees it.

    Attributes:
        problem: The problem with its reference answer.
        steps: The rollout's text, cut into steps.
    """

    problem: Problem
    steps: tuple[str, ...]


class Critic(Protocol):
    """Finds the wrong steps of solutions.

    A critic that cannot answer returns a `Critique` that abstains with its reason. It never raises for one solution,
    and what it could not judge is never counted as right or as wrong.
    """

    async def critique(self, solutions: Sequence[Solution], k: int, *, greedy: bool = False) -> list[list[Critique]]:
        """Return exactly k critiques of each solution, in the order of the solutions.

        Args:
            solutions: The rollouts to judge.
            k: How many independent critiques of each.
            greedy: Ask for the single most likely critique (temperature 0) where the critic samples.
        """
        ...

    async def close(self) -> None:
        """Free what the critic holds (connections, processes)."""
        ...


class CriticParams(Strict):
    """Base of a critic's settings; a subclass narrows `name` to its own literal and builds the critic."""

    name: str

    def build(self, benchmark: Benchmark, seed: int) -> Critic:
        """Return the critic.

        Args:
            benchmark: Where the solutions' problems come from; exact critics ask it.
            seed: The trial's seed, for critics that draw.
        """
        raise NotImplementedError
