"""Find the evaluation problems that a plan trains on; `plan` prints them, and each trial records them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from capo_bench.study.data import Rows, list_used_rows
from capo_bench.study.plan import Plan
from evals.config import EvaluationConfig
from evals.tasks.contamination import LENGTH, find_overlaps, read_problems
from evals.tasks.row_sets import stamp
from evals.tasks.row_settings import TestRows
from evals.tasks.rows import DataErrors
from trainers.config import TrialConfig

EXAMPLES = 5
"""Number of overlapping problems that are listed as examples."""


@dataclass(frozen=True)
class Overlap:
    """The overlap of a task with a set of training rows: problems that share `LENGTH` consecutive words with a row.

    Attributes:
        rows: Name of the training rows.
        trained: Number of training rows; 0 if they could not be read.
        task: Name of the task.
        problems: Number of problems of the task; 0 if they could not be read.
        shared: Number of problems with an overlap.
        examples: Ids of the first problems with an overlap.
        unchecked: Why nothing was compared; None if it was.
    """

    rows: str
    trained: int
    task: str
    problems: int
    shared: int
    examples: tuple[str, ...]
    unchecked: str | None = None


def find_trial_overlaps(config: TrialConfig) -> list[Overlap]:
    """Return the overlap of a trial's training rows with each of its tasks; empty if its problems are generated."""
    return [
        overlap
        for rows, trained in _list_training_rows(config)
        for overlap in _compare(rows, trained, config.evaluation)
    ]


def encode_overlaps(config: TrialConfig) -> list[dict[str, Any]]:
    """Return `find_trial_overlaps` as plain data, for a trial's provenance."""
    return [
        {**asdict(overlap), "examples": [*overlap.examples], "words": LENGTH} for overlap in find_trial_overlaps(config)
    ]


def describe_contamination(plan: Plan) -> list[str]:
    """Return one line of text for each set of training rows in a plan, with its overlap with the tasks."""
    distinct: dict[Overlap, None] = {}
    for config in {trial.variant: trial.config for trial in plan.trials}.values():
        distinct.update(dict.fromkeys(find_trial_overlaps(config)))
    by_rows: dict[str, list[Overlap]] = {}
    for overlap in distinct:
        by_rows.setdefault(overlap.rows, []).append(overlap)
    return [_format_line(rows, of_rows) for rows, of_rows in by_rows.items()]


def _format_line(rows: str, compared: Iterable[Overlap]) -> str:
    compared = list(compared)
    clean = [
        f"{overlap.task} ({overlap.problems:,})" for overlap in compared if not overlap.unchecked and not overlap.shared
    ]
    parts = [
        f"{overlap.shared:,} of {overlap.problems:,} problems of {overlap.task} share {LENGTH} words in a row with a "
        f"training row (as {', '.join(overlap.examples)})"
        for overlap in compared
        if overlap.shared
    ]
    parts += [f"none of {', '.join(clean)}"] if clean else []
    reasons: dict[str, list[str]] = {}
    for overlap in compared:
        if overlap.unchecked:
            reasons.setdefault(overlap.unchecked, []).append(overlap.task)
    parts += [f"not compared with {', '.join(tasks)}: {why}" for why, tasks in reasons.items()]
    trained = compared[0].trained
    return f"contamination by {rows}, {trained:,} row{'s' * (trained != 1)}: {'; '.join(parts)}"


def _list_training_rows(config: TrialConfig) -> Iterator[tuple[str, Rows]]:
    for path, rows in list_used_rows(config):
        if path[0] != "evaluation":
            yield f"{path[-1]} {rows.rows.name}", rows


def _compare(rows: str, trained: Rows, evaluation: EvaluationConfig) -> tuple[Overlap, ...]:
    own = tuple(evaluation.rows.items())
    return _compare_cached(
        rows, trained, evaluation.tasks, evaluation.data_dir, own, tuple(stamp(problems) for _, problems in own)
    )


@cache
def _compare_cached(  # noqa: PLR0913, PLR0917 - all inputs of the result, for the cache
    rows: str,
    trained: Rows,
    tasks: tuple[str, ...],
    data_dir: str | None,
    own: tuple[tuple[str, TestRows], ...],
    written: object,
) -> tuple[Overlap, ...]:
    texts = _read_texts(trained)
    if isinstance(texts, str):
        return tuple(Overlap(rows, 0, task, 0, 0, (), texts) for task in tasks)
    evaluated = ((task, read_problems(task, data_dir, dict(own))) for task in tasks)
    return tuple(_count_overlap(rows, len(trained.all), texts, *each) for each in evaluated)


def _count_overlap(rows: str, trained: int, texts: list[str], task: str, problems: dict[str, str] | str) -> Overlap:
    if isinstance(problems, str):
        return Overlap(rows, trained, task, 0, 0, (), problems)
    shared = find_overlaps(texts, problems)
    return Overlap(rows, trained, task, len(problems), len(shared), tuple(sorted(shared)[:EXAMPLES]))


def _read_texts(trained: Rows) -> list[str] | str:
    """Return the training texts, or the reason why they cannot be read here."""
    if not trained.rows.at_hand:
        return "the training rows are not on this machine yet"
    try:
        return trained.texts()
    except DataErrors as error:
        return error.flaws[0]
