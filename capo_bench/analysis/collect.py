"""From the files of a study's trials to tidy results in memory. Reads only; a trial that is not done is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from capo_bench.analysis.curves import sum_spending
from capo_bench.analysis.digest import read_or_make
from capo_bench.analysis.health import read_health
from capo_bench.analysis.looks import take_looks
from capo_bench.analysis.measures import find_quantity, find_task
from capo_bench.analysis.scores import linearise
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
    """What one finished trial left. Its samples and steps are read when they are first asked for.

    Attributes:
        shares: All final metrics by name; None became NaN.
        cost: Seconds, tokens and counts by name.
        provenance: Commit, packages, hardware and what else was written, as it stands.
        wanted: Those of its metrics that have a score for each problem.
        digest: Where what its samples and steps came to is kept (`digest`); None: it is worked out anew.

    Raises:
        DamagedFileError: A file cannot be read (from any part).
    """

    trial: Trial
    folder: TrialFolder
    shares: Mapping[str, float]
    cost: Mapping[str, float]
    provenance: Record
    wanted: tuple[str, ...]
    digest: Path | None = field(default=None, compare=False)

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, float]]:
        """Metric to problem to score, linearised. A metric without samples has one problem, named ""."""
        scores = {
            f"{task}/{name}": dict(zip(part["problems"], values, strict=True)) if values else {}
            for task, part in self._derived["tasks"].items()
            for name, values in part["scores"].items()
        }
        return {metric: scores.get(metric, {"": self.shares[metric]}) for metric in self.wanted}

    @property
    def curve(self) -> Sequence[float]:
        """Outcome reward of each optimizer step that recorded one."""
        return tuple(self._derived["curve"])

    @property
    def health(self) -> Mapping[str, Sequence[float]]:
        """What its steps say of gradient, cut rollouts and the like (`health.read_health`)."""
        return cast("Mapping[str, Sequence[float]]", self._derived["health"])

    @property
    def spent(self) -> Mapping[str, Sequence[float]]:
        """Axis of `capo_bench.analysis.curves` to what had been spent by each step of `curve`."""
        return cast("Mapping[str, Sequence[float]]", self._derived["spent"])

    @cached_property
    def _derived(self) -> Record:
        tasks = dict.fromkeys(task for metric in self.wanted if (task := find_task(metric)))
        sampled = {
            task: [find_quantity(metric) for metric in self.wanted if find_task(metric) == task]
            for task in tasks
            if self.folder.samples(task).exists()
        }
        files = [self.folder.steps, *(self.folder.samples(task) for task in sampled)]
        return cast("Record", read_or_make(self.digest, files, lambda: _digest_trial(self.folder, sampled), sampled))


@dataclass(frozen=True)
class Results:
    """A study's results so far.

    Attributes:
        plan: What was planned; of a plan with looks, the trials that these call for by now.
        runs: Variant to seed to run; every variant of the plan is a key, also one without a finished trial. Of a plan
            with looks, what the latest look saw.
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
            dict.fromkeys(
                [*list_measured(self.plan.metrics), *(name for run in self.all_runs() for name in run.scores)]
            )
        )

    def all_runs(self) -> list[Run]:
        """Return every run, in the plan's order."""
        return [run for seeds in self.runs.values() for run in seeds.values()]


def collect(plan: Plan, home: Home, *, digests: Path | None = None) -> Results:
    """Read what the plan's trials left; what samples and steps come to is kept in `digests`, if given (see `digest`).

    Raises:
        DamagedFileError: A finished trial's file cannot be read; the message names file and line.
    """
    wanted = list_measured(plan.metrics)
    runs: dict[str, dict[int, Run]] = {variant.name: {} for variant in plan.variants}
    missing: list[Trial] = []
    for trial in plan.trials:
        folder = home.trial(trial.id)
        if folder.done:
            digest = None if digests is None else digests / f"{trial.id}.json"
            runs[trial.variant][trial.seed] = read_run(trial, folder, wanted, digest)
        else:
            missing.append(trial)
    return _cut_at_latest_look(plan, runs, missing) if plan.looks else Results(plan, runs, tuple(missing))


def _cut_at_latest_look(plan: Plan, runs: Mapping[str, Mapping[int, Run]], missing: Sequence[Trial]) -> Results:
    taken = take_looks(plan, runs)
    seen = {
        name: {seed: run for seed, run in by_seed.items() if seed < taken.seen[name]} for name, by_seed in runs.items()
    }
    still = tuple(trial for trial in missing if trial.seed < taken.called[trial.variant])
    return Results(plan.with_seeds(taken.called), seen, still, taken.complete)


def list_measured(metrics: Sequence[str]) -> list[str]:
    """Return the study's metrics and those that a report needs beside them, each once."""
    task = find_task(metrics[0])
    beside = [f"{task}/{name}" for name in BESIDE] if task else []
    return list(dict.fromkeys([*metrics, *beside]))


def read_run(trial: Trial, folder: TrialFolder, metrics: Sequence[str], digest: Path | None = None) -> Run:
    """Read one finished trial: the metrics asked for, the primary first, and all of k answers to its task.

    Raises:
        DamagedFileError: A file cannot be read.
    """
    final = read_object(folder.metrics)
    shares = {name: math.nan if value is None else float(value) for name, value in final["metrics"].items()}
    primary = find_task(metrics[0])
    of_k = [name for name in shares if find_task(name) == primary and split_at_k(find_quantity(name))[1]]
    return Run(
        trial=trial,
        folder=folder,
        shares=shares,
        cost={name: float(value) for name, value in final.get("cost", {}).items() if value is not None},
        provenance=read_object(folder.provenance) if folder.provenance.exists() else {},
        wanted=tuple(metric for metric in dict.fromkeys([*metrics, *of_k]) if metric in shares),
        digest=digest,
    )


def _digest_trial(folder: TrialFolder, sampled: Mapping[str, Sequence[str]]) -> Record:
    """Return what a report needs of a trial's steps and samples, as plain JSON values."""
    steps = read_records(folder.steps) if folder.steps.exists() else []
    tasks = {task: _score_samples(folder.samples(task), names) for task, names in sampled.items()}
    places = [place for place, step in enumerate(steps) if step.get("outcome") is not None]
    return {
        "curve": [steps[place]["outcome"] for place in places],
        "health": read_health(steps),
        "spent": {axis: values[places].tolist() for axis, values in sum_spending(steps).items()},
        "tasks": tasks,
    }


def _score_samples(path: Path, names: Sequence[str]) -> Record:
    """Return the problems, and each metric's score of each (none where it is not defined)."""
    samples = cast("list[Sample]", read_records(path))
    scores = linearise(samples, names)
    problems = list(dict.fromkeys(sample["problem"] for sample in samples))
    return {
        "problems": problems,
        "scores": {name: [own[problem] for problem in problems] if own else [] for name, own in scores.items()},
    }
