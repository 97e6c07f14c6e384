"""A study as MLflow shows it: an experiment a study, a parent run a profile, a child run a trial.

Runs are found again by their tags, so a trial is one run however often it was stopped and resumed, and steps that are
there already are not written twice: the last one written is a tag of the run, set in one transaction with the values.
What is written twice all the same, because nobody heard that it had arrived, is one row: the time of a value is worked
out from what the trial left, not from the clock, and run, name, time, step and value are the row's key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param, RunTag

from capo_bench.home import Home, TrialFolder, read_json
from capo_bench.track.names import mlflow_metrics, mlflow_name, mlflow_param
from capo_bench.track.redact import redact
from capo_bench.track.store import Store, open_client
from trainers.methods import METHODS

if TYPE_CHECKING:
    from mlflow.entities import Run

    from capo_bench.study.plan import Plan, Trial

# MLflow takes 1000 values a call, tags and parameters counted.
BATCH = 990
_PARENT = "mlflow.parentRunId"
_LAST_STEP = "capo.last_step"
_STATE = "capo.state"
_STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


@dataclass(frozen=True)
class _Known:
    """What is kept of a run in the store: a study has thousands, and the whole of one has all its metrics."""

    run_id: str
    began: int
    state: str | None


def _known(run: Run) -> _Known:
    return _Known(str(run.info.run_id), int(run.info.start_time), run.data.tags.get(_STATE))


class StudyBook:
    """The runs of one study and profile in a store; made, or found if they are there. Any call may raise.

    Args:
        plan: The study.
        home: The results folder.
        store: Where to write.
    """

    def __init__(self, plan: Plan, home: Home, store: Store) -> None:
        self._plan, self._home = plan, home
        self._trials = {trial.id: trial for trial in plan.trials}
        self._client = open_client(store)
        self._experiment = self._open_experiment(store.artifacts)
        self._parent = self._open_parent()
        children = self._search({_PARENT: self._parent, "capo.kind": "trial"})
        self._runs: dict[str, _Known] = {}
        self._last_step: dict[str, int] = {}
        for run in children:
            trial = run.data.tags["capo.trial"]
            self._runs[trial] = _known(run)
            self._last_step[trial] = int(run.data.tags.get(_LAST_STEP, 0))

    def catch_up(self) -> None:
        """Write the trials that are done on disk and not in the store."""
        for trial in self.missing():
            self.end(trial, "done")

    def missing(self) -> list[str]:
        """Return the trials that are done on disk and not in the store."""
        return [trial for trial in self._trials if self._home.trial(trial).done and self.state(trial) != "done"]

    def state(self, trial: str) -> str | None:
        """Return how the store says that a trial ended, as it was when this was opened; None if it does not."""
        run = self._runs.get(trial)
        return None if run is None else run.state

    def start(self, trial: str) -> None:
        """Write that a trial is running."""
        self._client.update_run(self._run(trial), status="RUNNING")

    def curves(self, trial: str) -> None:
        """Write the steps of a trial that are not written yet."""
        run, began = self._run(trial), self._runs[trial].began
        batch: list[Metric] = []
        last, seconds = self._last_step.get(trial, 0), 0.0
        for record in _records(self._home.trial(trial).steps):
            step, seconds = int(record["step"]), seconds + float(record.get("seconds", 0.0))
            if step <= last:
                continue
            now = began + int(1000 * seconds)
            values = mlflow_metrics({key: value for key, value in record.items() if key != "step"}, "train/")
            if len(batch) + len(values) > BATCH:
                self._steps(trial, run, batch)
            batch += [Metric(name, value, now, step) for name, value in values.items()]
        self._steps(trial, run, batch)

    def end(self, trial: str, state: str) -> None:
        """Write how a trial ended (``done``, ``failed`` or ``stopped``) and what it left."""
        run, folder = self._run(trial), self._home.trial(trial)
        self.curves(trial)
        if state == "done":
            self._final(run, self._runs[trial].began, read_json(folder.metrics))
            self._files(run, folder)
        elif folder.log.exists():
            self._file(run, folder.log, folder.log.name)
        self._client.set_terminated(run, _STATUS[state])
        self._client.set_tag(run, _STATE, state)  # last: what is said of a trial is there

    def report(self, folder: Path) -> None:
        """Attach the files of a report to the parent run."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self._file(self._parent, path, f"report/{path.relative_to(folder)}")

    def close(self, finished: bool) -> None:
        """Write that this run of the study is over."""
        self._client.set_terminated(self._parent, "FINISHED" if finished else "KILLED")

    def _open_experiment(self, artifacts: Path | None) -> str:
        name = self._plan.study
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = (artifacts / name).as_uri() if artifacts else None
            return self._client.create_experiment(name, artifact_location=location)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _open_parent(self) -> str:
        tags = {"capo.kind": "study", "capo.study": self._plan.study, "capo.profile": self._plan.profile}
        for run in self._search(tags):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        name = f"{self._plan.study} ({self._plan.profile})"
        tags |= {"mlflow.note.content": self._plan.question}
        return str(self._client.create_run(self._experiment, tags=tags, run_name=name).info.run_id)

    def _search(self, tags: Mapping[str, str]) -> Iterator[Run]:
        condition = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _run(self, trial: str) -> str:
        if trial not in self._runs:
            self._runs[trial] = _known(self._create(self._trials[trial]))
        return self._runs[trial].run_id

    def _create(self, trial: Trial) -> Run:
        tags = {_PARENT: self._parent, "capo.kind": "trial", "capo.trial": trial.id, "capo.variant": trial.variant}
        tags |= {"capo.study": self._plan.study, "capo.profile": self._plan.profile}
        run = self._client.create_run(self._experiment, tags=tags, run_name=f"{trial.variant}, seed {trial.seed}")
        params = {"seed": trial.seed, "method": trial.config.method, **self._swept(trial)}
        self._client.log_batch(
            run.info.run_id,
            params=[Param(mlflow_name(key), redact(mlflow_param(value))) for key, value in params.items()],
        )
        text = json.dumps(trial.config.model_dump(mode="json"), indent=2)
        self._client.log_text(run.info.run_id, redact(text), "config.json")
        return run

    def _swept(self, trial: Trial) -> dict[str, object]:
        """Return what the study varies and this trial's values of it, without what its method does not use."""
        keys = dict.fromkeys(key for variant in self._plan.variants for key in variant.overrides)
        config, method = trial.config.model_dump(mode="json"), METHODS.get(trial.config.method)
        return {key: value for key in keys if method.heeds(key) and (value := _at(config, key)) is not None}

    def _steps(self, trial: str, run: str, batch: list[Metric]) -> None:
        """Write whole steps, and empty `batch`."""
        if batch:
            last = batch[-1].step
            self._client.log_batch(run, metrics=batch[:BATCH], tags=[RunTag(_LAST_STEP, str(last))])
            self._last_step[trial] = last
            batch.clear()

    def _final(self, run: str, began: int, result: Mapping[str, Any]) -> None:
        metrics = mlflow_metrics(result.get("metrics", {})) | mlflow_metrics(result.get("cost", {}), "cost/")
        now = began + int(1000 * result.get("cost", {}).get("wall_seconds", 0.0))
        items = [Metric(name, value, now, 0) for name, value in metrics.items()]
        for begin in range(0, len(items), BATCH):
            self._client.log_batch(run, metrics=items[begin : begin + BATCH])

    def _files(self, run: str, folder: TrialFolder) -> None:
        paths = [folder.metrics, folder.provenance, folder.steps, folder.log]
        paths += sorted(
            path for name in ("samples.jsonl", "result.json") for path in folder.evaluation.glob(f"*/{name}")
        )
        for path in filter(Path.is_file, paths):
            self._file(run, path, str(path.relative_to(folder.path)))
        if folder.provenance.exists():
            tags = [RunTag(f"capo.provenance.{key}", value) for key, value in _flat(read_json(folder.provenance))]
            self._client.log_batch(run, tags=tags[:90])

    def _file(self, run: str, path: Path, name: str) -> None:
        try:
            self._client.log_text(run, redact(path.read_text(encoding="utf-8")), name)
        except UnicodeDecodeError:  # a picture
            self._client.log_artifact(run, str(path), str(Path(name).parent))


def _records(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the step records, leaving out lines that are torn or still being written."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and "step" in record:
                yield record


def _at(tree: object, dotted: str) -> object:
    for key in dotted.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of a tree as dotted key and text."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flat(below, f"{prefix}{key}.")
    else:
        yield mlflow_name(prefix), redact(str(value))[:5000]
