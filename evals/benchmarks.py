"""List the benchmarks by name. A benchmark provides problems and, if it can, checks steps exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.registry import Registry
from evals.verify.forms import MATHEMATICAL, Form


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: Stable name within the benchmark, e.g. ``"coins/test/17"``.
        prompt: The text that the policy reads, without a chat template.
    """

    id: str
    prompt: str
    answer: str
    form: Form = MATHEMATICAL


@dataclass(frozen=True)
class StepCheck:
    """An exact checker's result for one solution.

    Attributes:
        wrong: Indices of steps that are wrong in themselves.
        follow: Indices of steps that are right in themselves but follow from an earlier error.
    """

    wrong: frozenset[int]
    follow: frozenset[int]


class Benchmark(Protocol):
    """A source of problems with an optional exact step checker.

    Attributes:
        splits: Names of its splits; training draws from ``train``.
        checks_steps: Whether `check_steps` works. If not, critics that are checkers cannot be used, and metrics of
            wrong steps are absent.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - documented above, like the others
    @property
    def splits(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def checks_steps(self) -> bool: ...  # noqa: D102

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Return `count` problems of `split`; the same arguments give the same problems."""
        ...

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Return which of the steps (the solution, cut by a segmenter) are wrong, and which follow from an error."""
        ...

    def fingerprint(self) -> str:
        """Return a short content hash of the data behind the benchmark."""
        ...


BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    "capo_bench.benchmarks",
    {
        "coins": "evals.coins:COINS",
        "forks": "evals.coins.protocol:FORKS",
        "repairs": "evals.coins.protocol:REPAIRS",
        "gsm8k": "evals.tasks.training_sets:GSM8K",
        "math": "evals.tasks.training_sets:MATH",
        "deepscaler": "evals.tasks.training_sets:DEEPSCALER",
        "dapo_math": "evals.tasks.training_sets:DAPO",
        "numina_math": "evals.tasks.training_sets:NUMINA",
    },
)
