"""Define the interface of a critic: it takes a batch of solutions and k, and returns k critiques of each solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from evals.benchmarks import Benchmark, Problem
from evals.settings import Strict
from trainers.credit.critique import Aim, Critique
from trainers.teaching import SupervisedConfig


@dataclass(frozen=True)
class Solution:
    """One rollout as a critic sees it: the problem with its reference answer, the steps, and what is asked."""

    problem: Problem
    steps: tuple[str, ...]
    aim: Aim = "steps"

    @property
    def verdicts(self) -> int:
        """Number of verdicts in a critique: one per step, or one for the answer."""
        return len(self.steps) if self.aim == "steps" else 1


class Critic(Protocol):
    """Finds the wrong steps of solutions, or decides whether their answers are wrong.

    A critic that cannot answer returns a `Critique` that abstains with its reason. It never raises for a single
    solution, and a missing verdict never counts as right or as wrong.

    Critique i of a solution is a function of the critic's settings, the solution and i, as far as the hardware is
    deterministic. It does not depend on the batch, the trial or the number of critiques requested. Therefore critiques
    can be stored and reused.

    Attributes:
        eager: Whether to request critiques of single solutions as soon as each is complete (for an endpoint that
            batches by itself), rather than of the whole batch (for a model in this process).
    """

    eager: bool

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return exactly k critiques of each solution, in the order of the solutions.

        Args:
            solutions: The rollouts to judge.
            k: Number of independent critiques of each solution.
            first: Index of the first critique: critiques ``first`` to ``first + k - 1`` are returned.
            greedy: Whether to request the single most likely critique (temperature 0), if the critic samples.
        """
        ...

    async def close(self) -> None:
        """Free what the critic holds (connections, processes)."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a critic is built with, besides its settings.

    Attributes:
        benchmark: The benchmark of the solutions' problems; exact critics use its checker.
        seed: The trial's seed, for critics that draw random numbers from it.
        embedded: Folder of the embedded critic's model, if the settings use it (`CriticParams.embedded_critic`).
    """

    benchmark: Benchmark
    seed: int
    embedded: Path | None = None


class EmbeddedCriticConfig(SupervisedConfig):
    """Supervised training of the embedded critic on solutions with errors, labelled by the exact checker.

    `stray` is the probability that a step does something other than it should.
    """

    slip: Annotated[float, Field(ge=0, lt=1)] = 0.2
    stray: Annotated[float, Field(ge=0, lt=1)] = 0.05


class CriticParams(Strict):
    """Base of a critic's settings; a subclass narrows `name` to its own literal and builds the critic.

    Attributes:
        where: Settings that affect where the critic runs, its speed or its price, but not its critiques.
        asks_checker: Whether it uses the benchmark's step checker, and so needs a benchmark that has one.
        kept: Whether critiques are stored on disk. This is useful if they are costly and if `identity` and the
            solution's text determine them. It is False for critiques that are fast to compute, or that are drawn from
            the trial's seed or the problem's id.
        backend: Backend of its language model (`evals.models.open`); None for a critic without one.
    """

    kept: ClassVar[bool] = False
    backend: ClassVar[str | None] = None
    where: ClassVar[frozenset[str]] = frozenset()
    asks_checker: ClassVar[bool] = False
    name: str

    @property
    def embedded_critic(self) -> EmbeddedCriticConfig | None:
        """Training settings of the embedded critic, if these settings use it; None for any other critic."""
        return None

    @property
    def asks_policy(self) -> bool:
        """Whether the critic is the policy before training: its `model` and `revision` are then those of the start."""
        return False

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the critiques."""
        return self.model_dump(mode="json", exclude=set(self.where))

    @property
    def size_known(self) -> bool:
        """Whether `size` will return a number."""
        return True

    def size(self, surroundings: Surroundings) -> int | None:
        """Return the number of parameters of the critic's model: 0 for a checker, None if unknown."""
        return 0

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic."""
        raise NotImplementedError
