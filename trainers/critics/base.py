"""The interface of a critic: a batch of solutions and k in, k critiques of each out."""

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
        """How many things a critique judges: the steps, or the one answer."""
        return len(self.steps) if self.aim == "steps" else 1


class Critic(Protocol):
    """Finds the wrong steps of solutions, or says whether their answers are wrong.

    A critic that cannot answer returns a `Critique` that abstains with its reason. It never raises for one solution,
    and what it could not judge is never counted as right or as wrong.

    Critique i of a solution is a function of the critic's settings, the solution and i as nearly as the machine below
    allows: not of the batch, of the trial, or of how many critiques are asked for. So critiques can be kept.

    Attributes:
        eager: Whether solutions are best asked for one by one, as soon as each is known (an endpoint that batches by
            itself), rather than together (a model in this process).
    """

    eager: bool

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        """Return exactly k critiques of each solution, in the order of the solutions.

        Args:
            solutions: The rollouts to judge.
            k: How many independent critiques of each.
            first: Index of the first of them: critiques ``first`` to ``first + k - 1``.
            greedy: Ask for the single most likely critique (temperature 0) where the critic samples.
        """
        ...

    async def close(self) -> None:
        """Free what the critic holds (connections, processes)."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a critic is built with beside its settings.

    Attributes:
        benchmark: Where the solutions' problems come from; exact critics ask it.
        seed: The trial's seed, for critics that draw with it.
        embedded: Folder of the embedded critic's model, where the settings name it (`CriticParams.embedded_critic`).
    """

    benchmark: Benchmark
    seed: int
    embedded: Path | None = None


class EmbeddedCriticConfig(SupervisedConfig):
    """Supervised training of the embedded critic on solutions that go wrong, labelled by the exact checker.

    `stray` is the probability that a step does something else than it should.
    """

    slip: Annotated[float, Field(ge=0, lt=1)] = 0.2
    stray: Annotated[float, Field(ge=0, lt=1)] = 0.05


class CriticParams(Strict):
    """Base of a critic's settings; a subclass narrows `name` to its own literal and builds the critic.

    Attributes:
        where: Settings that decide where it runs, how fast or at what price, and nothing of what it says.
        asks_checker: Whether it asks the benchmark's step checker, and so needs a benchmark that has one.
        kept: Whether critiques are worth keeping on disk: they cost something, and `identity` and the solution's text
            decide them. Not so where they are quickly worked out, or drawn with the trial's seed or the problem's name.
        backend: What runs its language model (`evals.models.open`); None for a critic without one.
    """

    kept: ClassVar[bool] = False
    backend: ClassVar[str | None] = None
    where: ClassVar[frozenset[str]] = frozenset()
    asks_checker: ClassVar[bool] = False
    name: str

    @property
    def embedded_critic(self) -> EmbeddedCriticConfig | None:
        """How the embedded critic is trained, where these settings ask for it; None for any other critic."""
        return None

    @property
    def asks_policy(self) -> bool:
        """Whether the critic is the policy as its training starts: its `model` and `revision` are then the start's."""
        return False

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide what the critic says."""
        return self.model_dump(mode="json", exclude=set(self.where))

    @property
    def size_known(self) -> bool:
        """Whether `size` will be a number."""
        return True

    def size(self, surroundings: Surroundings) -> int | None:
        """Return the parameters of the critic's model: 0 for a checker, None where nobody said."""
        return 0

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic."""
        raise NotImplementedError
