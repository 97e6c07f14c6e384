"""Problems to train on: published data sets, and rows that a study names. Nothing checks their steps."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

from pydantic import Field, create_model

from evals.benchmarks import Problem, StepCheck
from evals.tasks.canonical import short_hash
from evals.tasks.maths import DAPO_MATH, GRADE_SCHOOL, NUMINA_MATH, PROBLEM
from evals.tasks.row_sets import SPLIT, DataSet, RowSet, named_rows, stamp
from evals.tasks.row_settings import ProblemRows
from evals.tasks.rows import Flaws, RowModel
from evals.tasks.selfcheck import alike, unreadable

Layout = tuple[type[RowModel], Callable[[Any], Problem | None]]
"""What a row must hold, and from it the problem; None leaves the row out."""


@dataclass(frozen=True)
class TrainingSet(DataSet[Problem]):
    """A data set of problems with answers, as a benchmark to train on; each problem is there once.

    What is wrong with published rows cannot be mended by who trains on them: problems whose answers contradict each
    other or that the verifier cannot read are left out of a published set, and are errors of a study's own rows.
    """

    splits: Sequence[str] = (SPLIT,)
    checks_steps: bool = False

    what: ClassVar[str] = "problem to train on"

    @property
    def name(self) -> str:
        """As studies name it."""
        return self.rows.name

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Return `count` problems: all of them in an order that the seed decides, then all of them in another.

        Raises:
            ValueError: There is no such split.
            DataErrors: All that is wrong with the data.
        """
        if split != SPLIT:
            raise ValueError(f"benchmark {self.name!r} has no split {split!r}: it is for training; splits: {SPLIT}")
        return draw(self.all, count, f"{self.name}/{seed}")

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Nobody knows; `checks_steps` says so.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"benchmark {self.name!r} has no checker of steps")

    def content(self) -> list[object]:
        """Return problems and answers."""
        return [[problem.prompt, problem.answer] for problem in self.all]

    def texts(self) -> list[str]:
        """Return what a model is trained on, as far as it may stand in an evaluation."""
        return [problem.prompt for problem in self.all]

    def select(self, items: Iterator[tuple[str, Problem]], flaws: Flaws) -> list[Problem]:
        """Return each problem once."""
        sorter = _Sorter(flaws if self.source else [])
        for place, problem in items:
            sorter.take(place, problem)
        return [replace(problem, id=f"{self.name}/{SPLIT}/{problem.id}") for problem in sorter.kept()]


@dataclass
class _Sorter:
    """Keeps each problem once, and says what is wrong with the others, in `flaws`."""

    flaws: Flaws
    _first: dict[str, tuple[str, Problem]] = field(default_factory=dict)
    _contradicted: set[str] = field(default_factory=set)

    def take(self, place: str, problem: Problem) -> None:
        """Keep a problem, unless it is there already or its answer cannot be used."""
        key = " ".join(problem.prompt.split())
        if key in self._first:
            self._compare(key, place, problem)
        elif why := unreadable(problem.answer, problem.form):
            self.flaws.append(f"{place}: answer {why}; write the final answer alone, as in 42 or \\frac{{1}}{{2}}")
        else:
            self._first[key] = place, problem

    def kept(self) -> list[Problem]:
        """Return the problems that were kept."""
        return [problem for key, (_, problem) in self._first.items() if key not in self._contradicted]

    def _compare(self, key: str, place: str, problem: Problem) -> None:
        first_place, first = self._first[key]
        if alike(problem.answer, first.answer, first.form):
            return
        self._contradicted.add(key)
        self.flaws.append(
            f"{place}: answer is {problem.answer!r}, and the same problem has {first.answer!r} at {first_place}; "
            "keep the right one"
        )


def draw(items: Sequence[Any], count: int, seed: str) -> list[Any]:
    """Return `count` items: all of them in an order that the seed decides, then all of them in another, and so on."""
    drawn, rng = list[Any](), random.Random(seed)
    while len(drawn) < count:
        drawn += rng.sample(items, len(items))
    return drawn[:count]


def named_problems(source: ProblemRows) -> TrainingSet:
    """Return the problems of rows that a study names; a file is read once, and again when it was written since."""
    return _named_problems(source, stamp(source))


@cache
def _named_problems(source: ProblemRows, written: object) -> TrainingSet:
    return TrainingSet(named_rows(source), _layout(source), source)


def _layout(source: ProblemRows) -> Layout:
    """Return how rows read in whose columns the problems are."""
    columns: dict[str, Any] = {}
    if source.problem:
        columns["problem"] = (str, Field(min_length=1, validation_alias=source.problem))
    if source.answer:
        columns["answer"] = (str | int | float | None, Field(validation_alias=source.answer))
    return create_model("NamedProblem", __base__=PROBLEM[0], **columns), _by_content


def _by_content(row: Any) -> Problem:
    """Return a problem with an id of its own: what a user's files call ``id`` may be there twice."""
    problem = PROBLEM[1](row)
    return replace(problem, id=short_hash(problem.prompt))


GSM8K = TrainingSet(
    RowSet("gsm8k", "openai/gsm8k", "e53f048856ff4f594e959d75785d2c2d37b678ee", ("main",)), GRADE_SCHOOL
)
MATH = TrainingSet(
    RowSet(
        "math",
        "EleutherAI/hendrycks_math",
        "21a5633873b6a120296cce3e2df9d5550074f4a3",
        (
            *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
            *("number_theory", "prealgebra", "precalculus"),
        ),
    ),
    PROBLEM,
)
DEEPSCALER = TrainingSet(
    RowSet("deepscaler", "agentica-org/DeepScaleR-Preview-Dataset", "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29"), PROBLEM
)
DAPO = TrainingSet(
    # 1,791,700 rows: each of some 17,900 problems a hundred times. They are kept once.
    RowSet("dapo_math", "BytedTsinghua-SIA/DAPO-Math-17k", "65877096c24ffa7abc4e4fa5edb95cf3413a5674"),
    DAPO_MATH,
)
NUMINA = TrainingSet(
    RowSet("numina_math", "AI-MO/NuminaMath-1.5", "1b05109f9e5c1ad06c0663519502416c30b300f8"), NUMINA_MATH
)
