"""From the files of a study's trials to tidy results in memory. Reads only; a trial that is not done is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from capo_bench.analysis.curves import spent
from capo_bench.analysis.digest import digested
from capo_bench.analysis.health import read_health
from capo_bench.analysis.looks import take_looks
from capo_bench.analysis.measures import quantity, task_of
from capo_bench.analysis.scores import linearised
from capo_bench.store.home import Home, TrialFolder
from capo_bench.store.records import Record, read_object, read_records
from evals.metrics import split_at_k

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan, Trial
    from evals.metrics import Sample

BESIDE = ("accuracy", "wrong_step_rate", "steps", "tokens")
"""Quantities of the primary metric's task that a report needs beside the study's own metrics."""


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
        health: What its steps say of gradient, cut rollouts and the like (`health.read_health`).
        spent: Axis of `capo_bench.analysis.curves` to what had been spent by each of these steps.
        provenance: Commit, packages, hardware and what else was written, as it stands.
    """

    trial: Trial
    folder: TrialFolder
    scores: Mapping[str, Mapping[str, float]]
    cost: Mapping[str, float]
    shares: Mapping[str, float]
    curve: tuple[float, ...]
    health: Mapping[str, Sequence[float]]
    spent: Mapping[str, Sequence[float]]
    provenance: Record


@dataclass(frozen=True)
class Results:
    """A study's results so far.

    Attributes:
        plan: What was planned; of a plan with looks, the trials that these call for by now.
        runs: Variant to seed to run; every variant of the plan is a key, also one without a finished trial. Of a plan
            with looks, what the latest look saw.
        missing: Planned trials that are not done.
        looks_complete: How many looks were taken.
    """

    plan: Plan
    runs: Mapping[str, Mapping[int, Run]]
    missing: tuple[Trial, ...]
    looks_complete: int = 0

    @property
    def primary(self) -> str:
        """The metric that the answer is about."""
        return self.plan.metrics[0]

    def scores(self, variant: str, metric: str) -> dict[int, Mapping[str, float]]:
        """Return seed to problem to score; seeds that lack the metric are left out."""
        runs = self.runs.get(variant, {})
        return {seed: run.scores[metric] for seed, run in runs.items() if metric in run.scores}

    @property
    def metrics(self) -> list[str]:
        """The study's metrics and all others that its runs were read for, each once."""
        return list(
            dict.fromkeys([*measured(self.plan.metrics), *(name for run in self.all_runs() for name in run.scores)])
        )

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
    return _at_latest_look(plan, runs, missing) if plan.looks else Results(plan, runs, tuple(missing))


def _at_latest_look(plan: Plan, runs: Mapping[str, Mapping[int, Run]], missing: Sequence[Trial]) -> Results:
    taken = take_looks(plan, runs)
    seen = {
        name: {seed: run for seed, run in by_seed.items() if seed < taken.seen[name]} for name, by_seed in runs.items()
    }
    still = tuple(trial for trial in missing if trial.seed < taken.called[trial.variant])
    return Results(plan.with_seeds(taken.called), seen, still, taken.complete)


def measured(metrics: Sequence[str]) -> list[str]:
    """Return the study's metrics and those that a report needs beside them, each once."""
    task = task_of(metrics[0])
    beside = [f"{task}/{name}" for name in BESIDE] if task else []
    return list(dict.fromkeys([*metrics, *beside]))


def read_run(trial: Trial, folder: TrialFolder, metrics: list[str], digest: Path | None = None) -> Run:
    """Read one finished trial; what its samples and steps say from `digest` where that is still of them."""
    final = read_object(folder.metrics)
    shares = {name: math.nan if value is None else float(value) for name, value in final["metrics"].items()}
    primary = task_of(metrics[0])
    decoded = [name for name in shares if task_of(name) == primary and split_at_k(quantity(name))[1]]
    known = [metric for metric in dict.fromkeys([*metrics, *decoded]) if metric in shares]
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
        health=found["health"],
        spent=found["spent"],
        provenance=read_object(folder.provenance) if folder.provenance.exists() else {},
    )


def _worked_out(folder: TrialFolder, sampled: Mapping[str, Sequence[str]]) -> Record:
    """Return what a report needs of a trial's steps and samples, as plain JSON values."""
    steps = read_records(folder.steps) if folder.steps.exists() else []
    tasks = {task: _of_samples(folder.samples(task), names) for task, names in sampled.items()}
    told = [place for place, step in enumerate(steps) if step.get("outcome") is not None]
    return {
        "curve": [steps[place]["outcome"] for place in told],
        "health": read_health(steps),
        "spent": {axis: values[told].tolist() for axis, values in spent(steps).items()},
        "tasks": tasks,
    }


def _of_samples(path: Path, names: Sequence[str]) -> Record:
    """Return the problems, and each metric's score of each (none where it is not defined)."""
    samples = cast("list[Sample]", read_records(path))
    scores = linearised(samples, names)
    problems = list(dict.fromkeys(sample["problem"] for sample in samples))
    return {
        "problems": problems,
        "scores": {name: [found[problem] for problem in problems] if found else [] for name, found in scores.items()},
    }
