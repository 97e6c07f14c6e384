"""Evaluations side by side: only what may be compared, with differences paired problem by problem."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from capo_bench.analysis.diff import UnknownTrialError, find_trial
from capo_bench.store.errors import RefusedError
from capo_bench.store.evaluations import find_evaluation, read_record
from capo_bench.store.home import Home
from evals.estimates import LEVEL, Estimate
from evals.harness.folder import RESULT, SAMPLES, read_samples
from evals.harness.identity import Difference, explain_incomparable
from evals.harness.results import Result, read_result
from evals.metrics import Sample, score_problems

_ROUNDING = 1e-9  # a standard error below this is 0 but for rounding


@dataclass(frozen=True)
class ScoredTask:
    """A task of one side: its result, and each share of right answers (`list_answer_metrics`) by problem."""

    result: Result
    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Side:
    """One of those compared: its name in tables, its tasks, and the id that tells it from another of its name."""

    name: str
    tasks: Mapping[str, ScoredTask]
    id: str


@dataclass(frozen=True)
class Comparison:
    """What may be compared.

    Attributes:
        first: Name of the side that the others are compared with.
        rows: A row for each share of right answers of each side on each task: `task`, `model`, `metric` as tables name
            it, `value`, `difference` to the first side (None for that one, and where it has no such share), `problems`,
            `list_answer_metrics` of each, and `tokens` of all answers.
        notes: What differs by the reader's own leave.
    """

    first: str
    rows: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


def compare(words: Sequence[str], home: Home, allowed: Sequence[str]) -> Comparison:
    """Compare evaluations or trials, by id or folder, with the first; `allowed` (``model.dtype`` or ``dtype``) differs.

    Raises:
        RefusedError: One of them is not there, they share no task, or they differ in what decides the numbers beside
            the model; names every difference.
        EvaluationError: A result cannot be read.
    """
    sides = _read_sides(words, home)
    refused: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for first, other, task, difference in _list_differences(sides):
        kept = notes if any(f".{part}." in f".{difference.key}." for part in allowed) else refused
        left, right = _format_value(difference.left), _format_value(difference.right)
        kept.setdefault(f"{difference.key}: {left} in {first.name}, {right} in {other.name}", []).append(task)
    if refused:
        way_out = "these may not stand in one table: evaluate again with equal settings, or name what may differ, as in"
        key = next(iter(refused)).partition(":")[0].rpartition(".")[2]
        lines = [f"{difference} ({', '.join(tasks)})" for difference, tasks in refused.items()]
        raise RefusedError([*lines, f"{way_out} --allow-different {key}"])
    remarks = tuple(f"differs: {difference} ({', '.join(tasks)})" for difference, tasks in notes.items())
    return Comparison(sides[0].name, tuple(_build_comparison_rows(sides)), remarks)


def pair_results(left: Mapping[str, float], right: Mapping[str, float]) -> Estimate | None:
    """Return the mean difference right − left over the problems that both scored; None where there are none.

    Each problem counts once, however many samples it has, so samples of a problem are not taken for independent ones.
    The interval is Student's. Where all problems differ alike it would be a point: it is then as wide as the share of
    problems that could differ otherwise without one of n having shown it.
    """
    shared = [right[problem] - left[problem] for problem in left if problem in right]
    if not shared:
        return None
    n, value = len(shared), fmean(shared)
    if n == 1:
        return Estimate(value, None, None, None, 1)
    stderr = stdev(shared) / math.sqrt(n)
    reach = _compute_t_quantile(n) * stderr if stderr > _ROUNDING else 1 - ((1 - LEVEL) / 2) ** (1 / n)
    return Estimate(value, stderr, max(-1.0, value - reach), min(1.0, value + reach), n)


def _read_sides(words: Sequence[str], home: Home) -> list[Side]:
    flaws: list[str] = []
    sides = []
    for word in words:
        try:
            sides.append(_read_side(word, home))
        except RefusedError as error:
            flaws += str(error).splitlines()
    if not flaws and len(sides) > 1 and not any(set(sides[0].tasks) & set(side.tasks) for side in sides[1:]):
        flaws.append("; ".join(f"{side.name} has {', '.join(side.tasks)}" for side in sides) + ": no task in common")
    if flaws:
        raise RefusedError(flaws)
    names = [side.name for side in sides]
    twice = {name for name in names if names.count(name) > 1}
    return [replace(side, name=f"{side.name} ({side.id[:6]})") if side.name in twice else side for side in sides]


def _read_side(word: str, home: Home) -> Side:
    files = find_evaluation(word, home)
    if files is not None:
        record = read_record(files)
        model = str(record["model"])
        shown = Path(model).name if model.startswith(("/", ".", "~")) else model
        return Side(shown, _find_scored(files.folder), str(record["id"]))
    folder = Path(word)
    if not folder.is_dir():
        try:
            folder = find_trial(home, word).path
        except UnknownTrialError:
            raise RefusedError(
                [f"{word}: no evaluation and no trial of {home.path} is called so; see the folders evals and trials"]
            ) from None
    scored = _find_scored(folder)
    if not scored:
        raise RefusedError([f"{word}: no {RESULT} lies in {folder} or below; evaluate it first with capo-bench eval"])
    return Side(folder.name, scored, folder.name)


def _find_scored(folder: Path) -> dict[str, ScoredTask]:
    tasks: dict[str, ScoredTask] = {}
    for path in sorted(folder.rglob(RESULT)):
        result = read_result(path.parent)
        if any(scored.result.identity["model"] != result.identity["model"] for scored in tasks.values()):
            raise RefusedError([f"{folder} holds results of several models; name the folder of one evaluation"])
        if result.task in tasks:
            raise RefusedError([f"{folder} holds {result.task} twice; name the folder of one evaluation"])
        samples = _read_samples_of(path.parent)
        tasks[result.task] = ScoredTask(
            result, {metric: score_problems(samples, metric) for metric in list_answer_metrics(result)}
        )
    return tasks


def _read_samples_of(folder: Path) -> list[Sample]:
    """Return the samples of a result; without them it cannot be paired."""
    if not (folder / SAMPLES).is_file():
        raise RefusedError([f"{folder} holds a result and no {SAMPLES}; score it again with capo-bench eval --rescore"])
    return read_samples(folder)


def _list_differences(sides: Sequence[Side]) -> Iterator[tuple[Side, Side, str, Difference]]:
    """Yield what differs from the first side that has a task, which need not be the first of all."""
    firsts: dict[str, Side] = {}
    for other in sides:
        for task, scored in other.tasks.items():
            first = firsts.setdefault(task, other)
            differences = explain_incomparable(first.tasks[task].result.identity, scored.result.identity)
            for each in differences:
                # A package that one of the models does not need, as an adapter needs peft, is no difference.
                if not each.key.startswith("model.packages.") or None not in (each.left, each.right):
                    yield first, other, task, each


def list_answer_metrics(result: Result) -> dict[str, str]:
    """Return the shares of right answers of a task: metric to its name in tables."""
    k = result.identity["samples"]
    named = {"accuracy": "accuracy", f"avg_at_{k}": f"avg@{k}"}
    return {metric: name for metric, name in named.items() if metric in result.metrics}


def _build_comparison_rows(sides: Sequence[Side]) -> Iterator[dict[str, Any]]:
    for task in dict.fromkeys(task for side in sides for task in side.tasks):
        base = sides[0].tasks[task].scores if task in sides[0].tasks else {}
        for side in (side for side in sides if task in side.tasks):
            result, scores = side.tasks[task].result, side.tasks[task].scores
            for metric, name in list_answer_metrics(result).items():
                compared = side is not sides[0] and metric in base
                yield {
                    "task": task,
                    "model": side.name,
                    "metric": name,
                    "value": result.metrics[metric],
                    "difference": pair_results(base[metric], scores[metric]) if compared else None,
                    "problems": result.identity["problems"],
                    "answers": 1 if metric == "accuracy" else result.identity["samples"],
                    "tokens": result.cost["policy_tokens"],
                }


def _compute_t_quantile(n: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - (1 - LEVEL) / 2))


def _format_value(value: object) -> str:
    return "nothing" if value is None else repr(value)
