"""Published problems to train on: of the hub at a pinned commit, or of a folder of local copies. Nothing checks steps.

The folder is the one that the environment variable CAPO_BENCH_DATA names: ``gsm8k/train.jsonl`` and so on, with the
hub's columns. Where it holds the benchmark's folder, the hub is not asked.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evals.benchmarks import Problem, StepCheck
from evals.rows import DataErrors, Flaws, Row, RowModel, data_files, hub_rows, models, read_rows
from evals.tasks.maths import GRADE_SCHOOL, PROBLEM

DATA = "CAPO_BENCH_DATA"
SPLIT = "train"

Layout = tuple[type[RowModel], Callable[[Any], Problem | None]]
"""What a row must hold, and from it the problem."""


@dataclass(frozen=True)
class TrainingSet:
    """A data set of problems with answers, as a benchmark to train on.

    Attributes:
        name: As studies name it, and the folder of local copies.
        hub: Dataset of the hub.
        revision: Its commit.
        layout: How a row reads.
        configs: Its configurations, taken together; None: its only one.
    """

    name: str
    hub: str
    revision: str
    layout: Layout
    configs: tuple[str | None, ...] = (None,)

    splits: Sequence[str] = (SPLIT,)
    checks_steps: bool = False

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Return `count` problems: all of them in an order that the seed decides, then all of them in another.

        Raises:
            ValueError: There is no such split.
            DataErrors: All that is wrong with the data.
        """
        if split != SPLIT:
            raise ValueError(f"benchmark {self.name!r} has no split {split!r}: it is for training; splits: {SPLIT}")
        known, drawn = self._problems, list[Problem]()
        rng = random.Random(f"{self.name}/{seed}")
        while len(drawn) < count:
            drawn += rng.sample(known, len(known))
        return drawn[:count]

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Nobody knows; `checks_steps` says so.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"benchmark {self.name!r} has no checker of steps")

    def fingerprint(self) -> str:
        """Return a hash of the local files, or the hub's dataset at its commit."""
        if files := self._files:
            found = hashlib.sha256()
            for file in files:
                found.update(file.read_bytes())
            return found.hexdigest()[:12]
        return f"{self.hub}@{self.revision}"

    @property
    def local(self) -> bool:
        """Whether there are local copies, so that the hub is not asked."""
        return bool(self._files)

    @property
    def _files(self) -> list[Path]:
        folder = os.environ.get(DATA)
        inner = Path(folder) / self.name if folder else None
        return data_files(inner, self.name, SPLIT, alone=True) if inner is not None and inner.is_dir() else []

    @cached_property
    def _problems(self) -> list[Problem]:
        """All problems, each once."""
        flaws: Flaws = []
        model, make = self.layout
        found = {
            one.prompt: replace(one, id=f"{self.name}/{SPLIT}/{one.id}")
            for _, row in models(self._rows(flaws), model, flaws)
            if (one := make(row)) is not None
        }
        if not found and not flaws:
            flaws.append(f"{self.name}: no problem to train on; see that {DATA} names the folder of {self.name}/")
        if flaws:
            raise DataErrors(flaws)
        return list(found.values())

    def _rows(self, flaws: Flaws) -> list[Row]:
        if files := self._files:
            return [row for file in files for row in read_rows(file, flaws)]
        parts = [hub_rows(self.hub, SPLIT, flaws, config=name, revision=self.revision) for name in self.configs]
        return [row for part in parts for row in part]


GSM8K = TrainingSet(
    "gsm8k", "openai/gsm8k", "e53f048856ff4f594e959d75785d2c2d37b678ee", GRADE_SCHOOL, configs=("main",)
)
MATH = TrainingSet(
    "math",
    "EleutherAI/hendrycks_math",
    "21a5633873b6a120296cce3e2df9d5550074f4a3",
    PROBLEM,
    configs=(
        *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
        *("number_theory", "prealgebra", "precalculus"),
    ),
)
DEEPSCALER = TrainingSet(
    "deepscaler", "agentica-org/DeepScaleR-Preview-Dataset", "b6ae8c60f5c1f2b594e2140b91c49c9ad0949e29", PROBLEM
)
