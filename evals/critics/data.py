"""List the data sets with labelled steps by name, and load and sample them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from evals.critics.labels import LabelledSolution
from evals.registry import Registry, suggest_similar
from evals.tasks.rows import DataErrors, Flaws, Row, list_data_files, read_hub_rows, read_rows


@dataclass(frozen=True)
class Selection:
    """Selection of a data set's solutions.

    Attributes:
        source: Local file or folder; None draws the solutions, or loads them from the hub.
        limit: Maximum number of solutions; None takes all, or the data set's default number.
        neutral: How a step that is rated neutral counts.
    """

    subsets: tuple[str, ...] = ()
    source: Path | None = None
    limit: int | None = None
    seed: int = 0
    neutral: Literal["unlabelled", "right"] = "unlabelled"


@dataclass(frozen=True)
class Loaded:
    """Loaded solutions with labels.

    Attributes:
        solutions: The selected solutions.
        left_out: Reason to the number of rows that cannot be used.
        source: Description of their origin.
    """

    solutions: list[LabelledSolution]
    left_out: Mapping[str, int] = field(default_factory=dict)
    source: str = ""


class StepData(Protocol):
    """A data set with labelled steps.

    Attributes:
        benchmark: Benchmark whose checker can judge the steps of these problems; None if there is none.
        first_error: Whether labels give the first wrong step only, so that ProcessBench's score applies.
    """

    name: str
    benchmark: str | None
    first_error: bool

    def load(self, selection: Selection) -> Loaded:
        """Return the selected solutions.

        Raises:
            DataErrors: All errors in the selection and the data.
        """
        ...


def check_subsets(data: str, asked: Sequence[str], subsets: Iterable[str]) -> tuple[str, ...]:
    """Return the requested subsets without duplicates, or all subsets if none is requested.

    Raises:
        DataErrors: The data set has no such subset.
    """
    subsets = list(subsets)
    flaws: Flaws = [
        f"--data {data}: unknown subset {name!r}{suggest_similar(name, subsets)}; known: {', '.join(subsets)}"
        for name in asked
        if name not in subsets
    ]
    if flaws:
        raise DataErrors(flaws)
    return tuple(dict.fromkeys(asked)) or tuple(subsets)


class PublishedSteps:
    """A published data set: local files, each named after its subset, or a dataset of the hub with splits as subsets.

    Attributes:
        default: Subsets that are used if none is requested; empty: all.
        alone: Whether the only file of a folder is used regardless of its name.
    """

    name: str
    hub: str
    benchmark: str | None = None
    first_error = False
    subsets: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    alone = True

    def load(self, selection: Selection) -> Loaded:
        """Load solutions from local files or the hub."""
        flaws: Flaws = []
        wanted = check_subsets(self.name, selection.subsets or self.default, self.subsets)
        solutions = [
            solution
            for subset in wanted
            for solution in self.label(self.rows(subset, selection.source, flaws), subset, selection, flaws)
        ]
        if flaws:
            raise DataErrors(flaws)
        return Loaded(
            draw_solutions(solutions, selection.limit, selection.seed), source=str(selection.source or self.hub)
        )

    def label(self, rows: Sequence[Row], subset: str, selection: Selection, flaws: Flaws) -> Iterable[LabelledSolution]:
        """Return the solutions of a subset's rows; errors in the rows are added to `flaws`."""
        raise NotImplementedError

    def rows(self, subset: str, source: Path | None, flaws: Flaws) -> list[Row]:
        """Return the rows of a subset; an empty name means all rows, in one file."""
        if source is None:
            return list(read_hub_rows(self.hub, subset or None, flaws))
        files = list_data_files(source, self.name, subset, alone=self.alone)
        if not files:
            flaws.append(
                f"--data-dir {source}: no file for subset {subset!r}; it is expected as {self.name}/{subset or 'data'}"
                f".json, .jsonl or .parquet; name the file itself, or other subsets with --data {self.name}:…"
            )
        return [row for file in files for row in read_rows(file, flaws)]


def draw_solutions(solutions: Sequence[LabelledSolution], limit: int | None, seed: int) -> list[LabelledSolution]:
    """Draw at most `limit` solutions, in their order: equally many of each subset, with each subset's share of errors.

    Files are sorted by difficulty, by error or by problem, so their first rows are not a representative sample.
    """
    if limit is None or limit >= len(solutions):
        return list(solutions)
    rng = random.Random(f"labelled solutions/{seed}")
    subsets = {name: [s for s in solutions if s.subset == name] for name in dict.fromkeys(s.subset for s in solutions)}
    counts = divide_equally([len(rows) for rows in subsets.values()], limit)
    kept = {
        solution.id
        for rows, count in zip(subsets.values(), counts, strict=True)
        for solution in _draw_stratified(rows, count, rng)
    }
    return [solution for solution in solutions if solution.id in kept]


def divide_equally(sizes: Sequence[int], limit: int) -> list[int]:
    """Return how many to take of each subset: as equal as the sizes allow, and `limit` in total."""
    taken = [0] * len(sizes)
    for rank, place in enumerate(sorted(range(len(sizes)), key=lambda place: sizes[place])):
        taken[place] = min(sizes[place], (limit - sum(taken)) // (len(sizes) - rank))
    return taken


def _draw_stratified(rows: Sequence[LabelledSolution], count: int, rng: random.Random) -> list[LabelledSolution]:
    wrong = [row for row in rows if row.labels.wrong]
    right = [row for row in rows if not row.labels.wrong]
    rng.shuffle(wrong)
    rng.shuffle(right)
    erroneous = round(count * len(wrong) / len(rows)) if rows else 0
    return [*wrong[:erroneous], *right[: count - erroneous]]


STEP_DATA: Registry[StepData] = Registry(
    "data set with labelled steps",
    "capo_bench.step_data",
    {
        "coins": "evals.critics.coins:COINS",
        "processbench": "evals.critics.processbench:PROCESSBENCH",
        "prm800k": "evals.critics.prm800k:PRM800K",
        "prmbench": "evals.critics.prmbench:PRMBENCH",
        "hard2verify": "evals.critics.hard2verify:HARD2VERIFY",
    },
)
