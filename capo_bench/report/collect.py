"""From the files of a study's trials to tidy results in memory. Reads only; a trial that is not done is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from capo_bench.home import Home, TrialFolder, read_json
from capo_bench.report.axes import spent
from capo_bench.report.digest import digested
from capo_bench.report.measures import quantity, task_of
from capo_bench.report.scores import first_of_each_kind, linearised

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan, Trial
    from evals.metrics import Sample

Record = dict[str, Any]

BESIDE = ("accuracy", "wrong_step_rate", "steps", "tokens")
"""Quantities of the primary metric's task that a report needs beside the study's own metrics."""


class DamagedFileError(ValueError):
    """A finished trial's file cannot be read; the message names file and line."""


@dataclass(frozen=True)
class Run:
    """What one finished trial left.

    Attributes:
        trial: The trial.
        folder: Its folder.
        scores: Metric to problem to score, linearised. A metric without samples has one problem, named "".
        cost: Seconds, tokens and counts by name.
        shares: All final metrics by name; None became NaN.
        curve: Outcome reward of each optimizer step that recorded one.
        spent: Axis of `capo_bench.report.axes` to what had been spent by each of these steps.
        provenance: Commit, packages, hardware and what else was written, as it stands.
        shown: Task to kind of rollout to the first line (from 0) of the task's samples that is one.
    """

    trial: Trial
    folder: TrialFolder
    scores: Mapping[str, Mapping[str, float]]
    cost: Mapping[str, float]
    shares: Mapping[str, float]
    curve: tuple[float, ...]
    spent: Mapping[str, Sequence[float]]
    provenance: Record
    shown: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Results:
    """A study's results so far.

    Attributes:
        plan: What was planned.
        runs: Variant to seed to run; every variant of the plan is a key, also one without a finished trial.
        missing: Planned trials that are not done.
    """

    plan: Plan
    runs: Mapping[str, Mapping[int, Run]]
    missing: tuple[Trial, ...]

    @property
    def primary(self) -> str:
        """The metric that the answer is about."""
        return self.plan.metrics[0]

    def scores(self, variant: str, metric: str) -> dict[int, Mapping[str, float]]:
        """Return seed to problem to score; seeds that lack the metric are left out."""
        runs = self.runs.get(variant, {})
        return {seed: run.scores[metric] for seed, run in runs.items() if metric in run.scores}

    def all_runs(self) -> list[Run]:
        """Return every run, in the plan's order."""
        return [run for seeds in self.runs.values() for run in seeds.values()]


def collect(plan: Plan, home: Home, *, digests: Path | None = None) -> Results:
    """Read what the plan's trials left.

    Args:
        plan: What was planned.
        home: The results folder.
        digests: Folder in which what samples and steps came to is kept (see `digest`); None: it is worked out anew.

    Raises:
        DamagedFileError: A finished trial's file cannot be read; the message names file and line.
    """
    wanted = measured(plan.metrics)
    runs: dict[str, dict[int, Run]] = {variant.name: {} for variant in plan.variants}
    missing: list[Trial] = []
    for trial in plan.trials:
        folder = home.trial(trial.id)
        if folder.done:
            digest = None if digests is None else digests / f"{trial.id}.json"
            runs[trial.variant][trial.seed] = read_run(trial, folder, wanted, digest)
        else:
            missing.append(trial)
    return Results(plan, runs, tuple(missing))


def measured(metrics: Sequence[str]) -> list[str]:
    """Return the study's metrics and those that a report needs beside them, each once."""
    task = task_of(metrics[0])
    beside = [f"{task}/{name}" for name in BESIDE] if task else []
    return list(dict.fromkeys([*metrics, *beside]))


def read_run(trial: Trial, folder: TrialFolder, metrics: list[str], digest: Path | None = None) -> Run:
    """Read one finished trial; what its samples and steps say from `digest` where that is still of them."""
    final = read_object(folder.metrics)
    shares = {name: math.nan if value is None else float(value) for name, value in final["metrics"].items()}
    known = [metric for metric in metrics if metric in shares]
    tasks = dict.fromkeys(task for metric in (metrics[0], *known) if (task := task_of(metric)))
    sampled = {
        task: [quantity(metric) for metric in known if task_of(metric) == task]
        for task in tasks
        if folder.samples(task).exists()
    }
    files = [folder.steps, *(folder.samples(task) for task in sampled)]
    found = digested(digest, files, lambda: _worked_out(folder, sampled), sampled)
    scores = {
        f"{task}/{name}": dict(zip(part["problems"], values, strict=True)) if values else {}
        for task, part in found["tasks"].items()
        for name, values in part["scores"].items()
    }
    return Run(
        trial=trial,
        folder=folder,
        scores={metric: scores.get(metric, {"": shares[metric]}) for metric in known},
        cost={name: float(value) for name, value in final.get("cost", {}).items() if value is not None},
        shares=shares,
        curve=tuple(found["curve"]),
        spent=found["spent"],
        provenance=read_object(folder.provenance) if folder.provenance.exists() else {},
        shown={task: part["shown"] for task, part in found["tasks"].items()},
    )


def _worked_out(folder: TrialFolder, sampled: Mapping[str, Sequence[str]]) -> Record:
    """Return what a report needs of a trial's steps and samples, as plain JSON values."""
    steps = read_records(folder.steps) if folder.steps.exists() else []
    tasks = {task: _of_samples(folder.samples(task), names) for task, names in sampled.items()}
    told = [place for place, step in enumerate(steps) if step.get("outcome") is not None]
    return {
        "curve": [steps[place]["outcome"] for place in told],
        "spent": {axis: values[told].tolist() for axis, values in spent(steps).items()},
        "tasks": tasks,
    }


def _of_samples(path: Path, names: Sequence[str]) -> Record:
    """Return the problems, each metric's score of each (none where it is not defined), and rollouts to look at."""
    samples = cast("list[Sample]", read_records(path))
    scores = {name: linearised(samples, name) for name in names}
    problems = list(dict.fromkeys(sample["problem"] for sample in samples))
    return {
        "problems": problems,
        "scores": {name: [found[problem] for problem in problems] if found else [] for name, found in scores.items()},
        "shown": first_of_each_kind(samples),
    }


def read_object(path: Path) -> Record:
    """Read a JSON file that holds an object.

    Raises:
        DamagedFileError: It does not; the message names file and line.
    """
    try:
        value = read_json(path)
    except json.JSONDecodeError as error:
        raise DamagedFileError(
            f"{path}:{error.lineno}: not JSON ({error.msg}); move the trial's folder away and run it again"
        ) from error
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path}:1: {type(value).__name__} where an object belongs; run the trial again")
    return value


def read_records(path: Path) -> list[Record]:
    """Read a JSONL file.

    Raises:
        DamagedFileError: A line is not a JSON object; the message names file and line.
    """
    return [_record(path, number, line) for number, line in _lines(path)]


def read_record(path: Path, place: int) -> Record:
    """Read one record of a JSONL file, the first of which is at place 0.

    Raises:
        DamagedFileError: It is not a JSON object, or not there.
    """
    for number, line in islice(_lines(path), place, None):
        return _record(path, number, line)
    raise DamagedFileError(f"{path}: no record {place + 1}: it changed while it was read; report again")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers from 1; only a line feed ends one."""
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _record(path: Path, number: int, line: str) -> Record:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{path}:{number}: not a JSON record ({error.msg}); run the trial again") from error
    if not isinstance(record, dict):
        raise DamagedFileError(f"{path}:{number}: {type(record).__name__} where a record belongs; run the trial again")
    return record
