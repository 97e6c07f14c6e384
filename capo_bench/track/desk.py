"""Write values, texts and tables to MLflow runs with valid names and lengths, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param

from capo_bench.store.records import flatten
from capo_bench.study.keys import get_value
from capo_bench.track.names import format_mlflow_param, make_mlflow_name, select_mlflow_metrics
from capo_bench.track.redact import redact
from trainers.methods import METHODS

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from capo_bench.study.plan import Trial
    from capo_bench.track.store import Store

BATCH = 990
"""Values per call: MLflow accepts 1,000, including tags and parameters."""
_TABLES = "mlflow.loggedArtifacts"


def open_experiment(client: MlflowClient, name: str, store: Store) -> str:
    """Return the id of an experiment; create it if it does not exist, restore it if it was deleted."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = (store.artifacts / name).as_uri() if store.artifacts else None
        return str(client.create_experiment(name, artifact_location=location))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


class Desk:
    """Writes to the runs of one experiment in a store."""

    def __init__(self, client: MlflowClient, experiment: str, store: Store) -> None:
        self.client, self.experiment, self.store = client, experiment, store

    def metrics(self, run: str, points: Sequence[Metric]) -> None:
        """Write points in calls of at most `BATCH` points."""
        for first in range(0, len(points), BATCH):
            self.client.log_batch(run, metrics=list(points[first : first + BATCH]))

    def values(self, run: str, values: Mapping[str, object], prefix: str, time: int, model: str | None = None) -> None:
        """Write numbers without steps."""
        named = select_mlflow_metrics(values, prefix)
        self.metrics(run, [Metric(name, value, time, 0, model_id=model, run_id=run) for name, value in named.items()])

    def params(self, run: str, values: Mapping[str, object]) -> None:
        """Write parameters; a run's parameters can never be changed."""
        named = [Param(make_mlflow_name(key), redact(format_mlflow_param(value))) for key, value in values.items()]
        self.client.log_batch(run, params=named)

    def settings(self, run: str, trial: Trial, swept: Iterable[str]) -> None:
        """Write a trial's variant, seed, method and the used swept settings as parameters; all settings as a file."""
        config, method = trial.config.model_dump(mode="json"), METHODS.get(trial.config.method)
        used = {key: get_value(config, key.split(".")) for key in dict.fromkeys(swept) if method.heeds(key)}
        flat = {name: value for name, value in flatten(used).items() if value is not None}
        self.params(run, {"variant": trial.variant, "seed": trial.seed, "method": trial.config.method, **flat})
        self.text(run, json.dumps(config, indent=2), "config.json")

    def text(self, run: str, text: str, name: str) -> None:
        """Write a text file with its secrets removed."""
        self.client.log_text(run, redact(text), name)

    def file(self, run: str, path: Path, name: str) -> None:
        """Attach a file under a name: a text with its secrets removed, a picture unchanged."""
        try:
            self.text(run, path.read_text(encoding="utf-8"), name)
        except UnicodeDecodeError:
            self.client.log_artifact(run, str(path), str(Path(name).parent))

    def tables(self, run: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Attach tables, which MLflow's pages show and compare.

        `tables` are rows by file name; all rows of a table have the same keys.
        """
        for name, rows in tables.items():
            columns = list(rows[0]) if rows else []
            whole = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
            self.text(run, json.dumps(whole), name)
        named = [{"path": name, "type": "table"} for name in tables]
        if named:
            self.client.set_tag(run, _TABLES, json.dumps(named))
