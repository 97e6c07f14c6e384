"""Where results live. The one place that knows the layout of the folder given by --home."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from evals.checksums import check_file
from evals.files import write_atomic

StageKind = Literal["cold_start", "critic", "prm", "training", "completions"]
"""What stands under a key: models that are made before trials, what a training left, what one task was answered."""


@dataclass(frozen=True)
class TrialFolder:
    """Files of one trial. `metrics` is written last, atomically: a trial is done when it is there."""

    path: Path

    @property
    def config(self) -> Path:
        """Resolved config and the parts of the identity."""
        return self.path / "config.json"

    @property
    def provenance(self) -> Path:
        """Commit, packages, hardware, fingerprints."""
        return self.path / "provenance.json"

    @property
    def stages(self) -> Path:
        """Keys of the stages that it shares, by their places in it: ``training``, ``completions/<task>``."""
        return self.path / "stages.json"

    def keys(self) -> dict[str, str]:
        """Return these keys; a stage that is not among them lies in the trial's own folder."""
        return dict(read_json(self.stages)) if self.stages.exists() else {}

    def shared(self) -> list[Path]:
        """Return the folders of the stages that it shares."""
        return [self._under(place, key) for place, key in self.keys().items()]

    def _stage(self, place: str) -> Path:
        key = self.keys().get(place)
        return self.path / place if key is None else self._under(place, key)

    def _under(self, place: str, key: str) -> Path:
        return self.path.parents[1] / "stages" / place.partition("/")[0] / key

    @property
    def trained(self) -> Path:
        """Folder of all that training left."""
        return self._stage("training")

    def completions(self, task: str) -> Path:
        """Folder of what the trained policy was asked of a task, and answered."""
        return self._stage(f"completions/{task}")

    def place(self, path: Path) -> str:
        """Return where a file of the trial is in the results folder."""
        return path.relative_to(self.path.parents[1]).as_posix()

    @property
    def steps(self) -> Path:
        """One record per optimizer step."""
        return self.trained / "steps.jsonl"

    @property
    def rollouts(self) -> Path:
        """What training sampled and what the critic said of it, one file per optimizer step and process."""
        return self.trained / "rollouts"

    @property
    def metrics(self) -> Path:
        """Final metrics and costs."""
        return self.path / "metrics.json"

    @property
    def log(self) -> Path:
        """What the trial's process printed and logged."""
        return self.path / "trial.log"

    @property
    def model(self) -> Path:
        """Final weights and tokenizer."""
        return self.trained / "model"

    @property
    def training(self) -> Path:
        """How training went beside its steps."""
        return self.trained / "training.json"

    @property
    def processes(self) -> Path:
        """Where the worker talks with processes that work for it; gone when they have ended."""
        return self.path / ".launch"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints while training; gone when it is done."""
        return self.trained / "checkpoints"

    @property
    def evaluation(self) -> Path:
        """How its answers were scored, one folder a task."""
        return self.path / "evaluation"

    def samples(self, task: str) -> Path:
        """Scored samples of one task of the evaluation."""
        return self.evaluation / task / "samples.jsonl"

    @property
    def done(self) -> bool:
        """Whether the trial has finished."""
        return self.metrics.exists()


@dataclass(frozen=True)
class ProfileFolder:
    """Files of one profile of a study: the plan that was last run, and what commands made of its results."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan as it was last run."""
        return self.path / "plan.json"

    @property
    def study(self) -> Path:
        """The study file as it was last run."""
        return self.path / "study.yaml"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.path / "report"

    @property
    def revote(self) -> Path:
        """Folder of the replay of other votes."""
        return self.path / "revote"

    @property
    def credit(self) -> Path:
        """Folder of the fidelity of credit."""
        return self.path / "credit"


@dataclass(frozen=True)
class StudyFolder:
    """Files of one study."""

    path: Path

    @property
    def ledger(self) -> Path:
        """Append-only record of what happened to the study's trials."""
        return self.path / "ledger.jsonl"

    @property
    def now(self) -> Path:
        """What the run that goes on is at."""
        return self.path / "now.json"

    def profile(self, name: str) -> ProfileFolder:
        """Folder of a profile; no name leads out of the study's folder."""
        return ProfileFolder(self.path / "profiles" / (quote(name, safe=" '").replace(".", "%2E") or "%"))


@dataclass(frozen=True)
class Home:
    """The results folder: trials and their stages by content hash, studies by name, the tracking store.

    Attributes:
        path: The folder.
        keep_critiques: Whether critiques are kept in it, and taken from it.
    """

    path: Path
    keep_critiques: bool = True

    def trial(self, trial_id: str) -> TrialFolder:
        """Folder of a trial, shared by every study that contains it."""
        return TrialFolder(self.path / "trials" / trial_id)

    def study(self, name: str) -> StudyFolder:
        """Folder of a study."""
        return StudyFolder(self.path / "studies" / name)

    def critic(self, measurement_id: str) -> Path:
        """Folder of a critic's measurement."""
        return self.path / "critics" / measurement_id

    @property
    def evaluations(self) -> Path:
        """Holds a folder for each evaluation, named by model, tasks and id."""
        return self.path / "evals"

    def view(self, trial_id: str) -> Path:
        """Page of a trial's rollouts, where `capo-bench view` is not told another."""
        return self.path / "views" / f"{trial_id}.html"

    def stage(self, kind: StageKind, key: str) -> Path:
        """Folder of what a stage left, by the hash of all that decides it; whole if it is there, and never changed."""
        return self.path / "stages" / kind / key

    def stage_lock(self, kind: StageKind, key: str) -> Path:
        """File that is locked while a stage is worked on."""
        return self.path / "stages" / kind / f"{key}.lock"

    @property
    def critiques(self) -> Path | None:
        """Folder in which critiques are kept; None where they are not to be."""
        return self.path / "cache" / "critiques" if self.keep_critiques else None

    @property
    def values(self) -> Path:
        """Folder of the values of states, counted over continuations; all of it can be counted again."""
        return self.path / "cache" / "values"

    @property
    def digests(self) -> Path:
        """Folder of what reports have worked out of large files; all of it can be worked out again."""
        return self.path / "cache" / "report"

    @property
    def tracking(self) -> Path:
        """Default MLflow store (SQLite)."""
        return self.path / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Default MLflow artifact root."""
        return self.path / "mlartifacts"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys sorted; NaN is refused."""
    write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return what `write_json` writes."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ChangedFileError: Its bytes are not those that were written.
    """
    check_file(path)
    return json.loads(path.read_text(encoding="utf-8"))
