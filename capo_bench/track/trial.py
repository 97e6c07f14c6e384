"""Write the run of a trial: curves, final numbers, files, tables of samples, data sets, model."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, RunTag

from capo_bench.store.home import TrialFolder, read_json
from capo_bench.track.names import CURVES, FINAL, select_mlflow_metrics
from capo_bench.track.redact import redact
from capo_bench.track.traces import write_critiques

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial
    from capo_bench.track.desk import Desk

TABLE_ROWS = 200
"""Maximum samples of each task in a table; the results folder contains all samples."""
_SAMPLE_COLUMNS = ("problem", "decoding", "sample", "completion", "answer", "correct", "status", "tokens")


@dataclass
class TrialRun:
    """A trial's run in the store.

    Attributes:
        id: Id of the run.
        began: Creation time in milliseconds.
        state: State in the store: how the trial ended, or ``running`` after that was written.
        last: Last step whose values are written.
        curves: Names of the curves that are written up to `last`.
    """

    id: str
    began: int
    state: str | None
    last: int = 0
    curves: set[str] = field(default_factory=set)

    def write_curves(self, desk: Desk, path: Path) -> None:
        """Write the steps that are not written yet; curves that have been constant so far are left out."""
        points: dict[str, list[Metric]] = defaultdict(list)
        step, seconds = 0, 0.0
        for record in _read_records(path):
            step, seconds = int(record["step"]), seconds + float(record.get("seconds", 0.0))
            values = select_mlflow_metrics({key: value for key, value in record.items() if key != "step"}, CURVES)
            for name, value in values.items():
                points[name].append(Metric(name, value, self.began + int(1000 * seconds), step))
        varying = {name for name, curve in points.items() if len({point.value for point in curve}) > 1}
        new = [point for name in varying for point in points[name] if point.step > self.last or name not in self.curves]
        desk.metrics(self.id, sorted(new, key=lambda point: point.step))
        self.last, self.curves = step, varying


def write_end(desk: Desk, run: TrialRun, trial: Trial, folder: TrialFolder, *, done: bool) -> None:
    """Write the files of a trial that ended; if it is not done, only its log."""
    if folder.log.exists():
        desk.file(run.id, folder.log, folder.log.name)
    if not done:
        return
    result = read_json(folder.metrics)
    model = _ensure_logged_model(desk, run, trial, folder)
    cost = result.get("cost", {})
    now = run.began + int(1000 * cost.get("wall_seconds", 0.0))
    desk.values(run.id, result.get("metrics", {}), FINAL, now, model)
    desk.values(run.id, cost, f"{FINAL}cost/", now)
    results = sorted(folder.evaluation.glob("*/result.json"))
    for path in filter(Path.is_file, (folder.metrics, folder.provenance, *results)):
        desk.file(run.id, path, str(path.relative_to(folder.path)))
    if folder.steps.is_file():
        desk.file(run.id, folder.steps, folder.steps.name)
    samples = sorted(folder.evaluation.glob("*/samples.jsonl"))
    desk.tables(run.id, {f"samples/{path.parent.name}.json": sample_rows(path) for path in samples})
    desk.client.log_inputs(run.id, datasets=list_datasets(map(folder.completions, trial.config.evaluation.tasks)))
    desk.client.log_batch(
        run.id, tags=[RunTag(f"capo.{key}", redact(text)) for key, text in _read_origin(folder).items()]
    )
    write_critiques(desk, run.id, trial, folder)


def sample_rows(path: Path) -> list[dict[str, Any]]:
    """Return the first `TABLE_ROWS` rows of a task's samples."""
    lines = path.read_text(encoding="utf-8").splitlines()[:TABLE_ROWS]
    return [{name: row.get(name) for name in _SAMPLE_COLUMNS} for row in map(json.loads, lines)]


def list_datasets(tasks: Iterable[Path]) -> list[DatasetInput]:
    """Return the data sets of tasks' folders, each identified by name and hash of the task's record."""
    return [
        DatasetInput(_make_dataset(path.read_bytes()), [InputTag("mlflow.data.context", "evaluation")])
        for path in sorted(folder / "task.json" for folder in tasks)
        if path.is_file()
    ]


def _make_dataset(asked: bytes) -> Dataset:
    record = json.loads(asked)
    task, problems = record["identity"]["task"], len(record.get("asked", []))
    source = json.dumps({"task": task})
    digest = hashlib.sha256(asked).hexdigest()[:12]
    return Dataset(task, digest, source_type="code", source=source, profile=json.dumps({"problems": problems}))


def _ensure_logged_model(desk: Desk, run: TrialRun, trial: Trial, folder: TrialFolder) -> str | None:
    """Return the id of the trial's logged model, which is created if necessary; None if nothing was trained."""
    if not folder.model.is_dir():
        return None
    search = desk.client.search_logged_models([desk.experiment], filter_string=f"source_run_id = '{run.id}'")
    if search:
        return str(search[0].model_id)
    name = re.sub(r"[^\w=.,-]+", "_", f"{trial.variant}-seed-{trial.seed}")
    place = folder.place(folder.model)
    made = desk.client.create_logged_model(
        desk.experiment,
        name=name,
        source_run_id=run.id,
        tags={"capo.trial": trial.id, "capo.weights": f"{place} in the results folder"},
        params={"variant": trial.variant, "seed": str(trial.seed), "method": trial.config.method},
        model_type="policy",
    )
    desk.client.finalize_logged_model(made.model_id, "READY")
    desk.client.log_outputs(run.id, [LoggedModelOutput(made.model_id, run.last)])
    return str(made.model_id)


def _read_origin(folder: TrialFolder) -> dict[str, str]:
    """Return five facts about the origin of a trial; the full provenance is a file of the run."""
    try:
        provenance = read_json(folder.provenance)
    except FileNotFoundError:
        return {}
    git, packages, machine = (provenance.get(key) or {} for key in ("git", "packages", "hardware"))
    dirty = " with changes" if git.get("dirty") else ""
    return {
        "commit": f"{git.get('commit')}{dirty}",
        "python": str(provenance.get("python")),
        "torch": str(packages.get("torch")),
        "trl": str(packages.get("trl")),
        "hardware": ", ".join(machine.get("gpus") or [str(machine.get("cpu"))]),
    }


def _read_records(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the step records; incomplete lines are left out."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and math.isfinite(record.get("step", math.nan)):
                yield record
