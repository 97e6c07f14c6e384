"""Provide problems for training: published data sets, and rows that a study defines. Their steps cannot be checked."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

from pydantic import Field, create_model

from evals.benchmarks import Problem, StepCheck
from evals.tasks.canonical import hash_text
from evals.tasks.maths import DAPO_MATH, GRADE_SCHOOL, NUMINA_MATH, PROBLEM
from evals.tasks.row_sets import SPLIT, DataSet, RowSet, locate_named_rows, stamp
from evals.tasks.row_settings import ProblemRows
from evals.tasks.rows import Flaws, RowModel
from evals.tasks.selfcheck import are_alike, explain_unreadable

Layout = tuple[type[RowModel], Callable[[Any], Problem | None]]
"""The row model, and the conversion of a validated row to a problem; None leaves the row out."""


@dataclass(frozen=True)
class TrainingSet(DataSet[Problem]):
    """A data set of problems with answers, as a benchmark for training; duplicates are removed.

    Users cannot correct published rows. Therefore problems with contradictory answers, or with answers that the
    verifier cannot parse, are left out of a published set; in a study's own rows they are errors.
    """

    splits: Sequence[str] = (SPLIT,)
    checks_steps: bool = False

    what: ClassVar[str] = "problem to train on"

    @property
    def name(self) -> str:
        """Its name in studies."""
        return self.rows.name

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Return `count` problems: all of them in a random order given by the seed, then all of them in another order.

        Raises:
            ValueError: There is no such split.
            DataErrors: All errors in the data.
        """
        if split != SPLIT:
            raise ValueError(f"benchmark {self.name!r} has no split {split!r}: it is for training; splits: {SPLIT}")
        return draw(self.all, count, f"{self.name}/{seed}")

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Raise an error: this benchmark has no checker of steps (`checks_steps` is False).

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"benchmark {self.name!r} has no checker of steps")

    def content(self) -> list[object]:
        """Return problems and answers."""
        return [[problem.prompt, problem.answer] for problem in self.all]

    def texts(self) -> list[str]:
        """Return the training texts that could occur in an evaluation: the problems."""
        return [problem.prompt for problem in self.all]

    def select(self, items: Iterator[tuple[str, Problem]], flaws: Flaws) -> list[Problem]:
        """Return the problems without duplicates."""
        sorter = _Sorter(flaws if self.source else [])
        for place, problem in items:
            sorter.take(place, problem)
        return [replace(problem, id=f"{self.name}/{SPLIT}/{problem.id}") for problem in sorter.kept()]


@dataclass
class _Sorter:
    """Keeps each problem once, and adds the errors of other rows to `flaws`."""

    flaws: Flaws
    _first: dict[str, tuple[str, Problem]] = field(default_factory=dict)
    _contradicted: set[str] = field(default_factory=set)

    def take(self, place: str, problem: Problem) -> None:
        """Keep a problem, unless it is a duplicate or its answer cannot be used."""
        key = " ".join(problem.prompt.split())
        if key in self._first:
            self._compare(key, place, problem)
        elif why := explain_unreadable(problem.answer, problem.form):
            self.flaws.append(f"{place}: answer {why}; write the final answer alone, as in 42 or \\frac{{1}}{{2}}")
        else:
            self._first[key] = place, problem

    def kept(self) -> list[Problem]:
        """Return the kept problems."""
        return [problem for key, (_, problem) in self._first.items() if key not in self._contradicted]

    def _compare(self, key: str, place: str, problem: Problem) -> None:
        first_place, first = self._first[key]
        if are_alike(problem.answer, first.answer, first.form):
            return
        self._contradicted.add(key)
        self.flaws.append(
            f"{place}: answer is {problem.answer!r}, and the same problem has {first.answer!r} at {first_place}; "
            "keep the right one"
        )


def draw(items: Sequence[Any], count: int, seed: str) -> list[Any]:
    """Return `count` items: all of them in a random order that depends on the seed, then all in another, and so on."""
    drawn, rng = list[Any](), random.Random(seed)
    while len(drawn) < count:
        drawn += rng.sample(items, len(items))
    return drawn[:count]


def load_named_problems(source: ProblemRows) -> TrainingSet:
    """Return the problems of a study's rows; a file is read once, and again if it has changed."""
    return _load_named(source, stamp(source))


@cache
def _load_named(source: ProblemRows, written: object) -> TrainingSet:
    return TrainingSet(locate_named_rows(source), _make_layout(source), source)


def _make_layout(source: ProblemRows) -> Layout:
    """Return the row model and the conversion for the columns that contain the problems."""
    columns: dict[str, Any] = {}
    if source.problem:
        columns["problem"] = (str, Field(min_length=1, validation_alias=source.problem))
    if source.answer:
        columns["answer"] = (str | int | float | None, Field(validation_alias=source.answer))
    return create_model("NamedProblem", __base__=PROBLEM[0], **columns), _convert_row


def _convert_row(row: Any) -> Problem:
    """Return a problem with the hash of its text as id, because ids in a user's files may not be unique."""
    problem = PROBLEM[1](row)
    return replace(problem, id=hash_text(problem.prompt))


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
    # 1,791,700 rows: each of about 17,900 problems occurs a hundred times. Duplicates are removed.
    RowSet("dapo_math", "BytedTsinghua-SIA/DAPO-Math-17k", "65877096c24ffa7abc4e4fa5edb95cf3413a5674"),
    DAPO_MATH,
)
NUMINA = TrainingSet(
    RowSet("numina_math", "AI-MO/NuminaMath-1.5", "1b05109f9e5c1ad06c0663519502416c30b300f8"), NUMINA_MATH
)
