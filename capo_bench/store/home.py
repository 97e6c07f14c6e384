"""The layout of the results folder, which is given by --home. No other module knows it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from evals.checksums import check_file
from evals.files import write_atomic

StageKind = Literal["cold_start", "critic", "prm", "training", "completions"]
"""Kinds of stages under keys: models that are made before trials, trainings, and completions of one task."""

_LISTED = re.compile(r"(training|completions/[^/\x00]+) [0-9a-f]{12}")
"""Pattern of a stage's place in a trial's folder and its key."""


class Inside:
    """An attribute that is the path of a file or folder in another folder, which the attribute `folder` names."""

    def __init__(self, name: str, folder: str = "path") -> None:
        self._name, self._folder = name, folder

    def __get__(self, owner: object, kind: type) -> Path:
        folder: Path = getattr(owner, self._folder)
        return folder / self._name


@dataclass(frozen=True)
class TrialFolder:
    """Files of one trial. `metrics` is written last, atomically: a trial is done when it exists."""

    path: Path

    config = Inside("config.json")
    """The complete settings and the identity."""
    provenance = Inside("provenance.json")
    """Commit, packages, hardware, fingerprints."""
    stages = Inside("stages.json")
    """Keys of the stages that it shares, by their places in the folder: ``training``, ``completions/<task>``."""
    metrics = Inside("metrics.json")
    """Final metrics and costs."""
    log = Inside("trial.log")
    """Output and log of the trial's process."""
    processes = Inside(".launch")
    """Folder for messages between the worker and its processes; deleted when they have ended."""
    evaluation = Inside("evaluation")
    """The scored completions, one folder per task."""
    steps = Inside("steps.jsonl", "trained")
    """One record per optimizer step."""
    rollouts = Inside("rollouts", "trained")
    """Rollouts of training with their critiques, one file per optimizer step and process."""
    model = Inside("model", "trained")
    """Final weights and tokenizer."""
    training = Inside("training.json", "trained")
    """Facts about training that are not per step."""
    checkpoints = Inside("checkpoints", "trained")
    """Checkpoints of training; deleted when it is done."""

    @property
    def trained(self) -> Path:
        """Folder of all files of training."""
        return self._stage("training")

    def completions(self, task: str) -> Path:
        """Folder of the trained policy's completions of a task."""
        return self._stage(f"completions/{task}")

    def samples(self, task: str) -> Path:
        """Scored samples of one task of the evaluation."""
        return self.evaluation / task / "samples.jsonl"

    def keys(self) -> dict[str, str]:
        """Return the keys in `stages`; a stage without a key is in the trial's own folder.

        Raises:
            ValueError: The file contains something else, such as a path in a hostile bundle.
        """
        keys = dict(read_json(self.stages)) if self.stages.exists() else {}
        if bad := [f"{place}: {key}" for place, key in keys.items() if not _LISTED.fullmatch(f"{place} {key}")]:
            raise ValueError(f"{self.stages}: no stage under a key: {', '.join(bad)}")
        return keys

    def shared(self) -> list[Path]:
        """Return the folders of the stages that it shares."""
        return [self._under(place, key) for place, key in self.keys().items()]

    def place(self, path: Path) -> str:
        """Return the path of a file of the trial relative to the results folder."""
        return path.relative_to(self.path.parents[1]).as_posix()

    @property
    def done(self) -> bool:
        """Whether the trial has finished."""
        return self.metrics.exists()

    def _stage(self, place: str) -> Path:
        key = self.keys().get(place)
        return self.path / place if key is None else self._under(place, key)

    def _under(self, place: str, key: str) -> Path:
        return self.path.parents[1] / "stages" / place.partition("/")[0] / key


@dataclass(frozen=True)
class ProfileFolder:
    """Files of one profile of a study: the plan of its last run, and what commands write about its results."""

    path: Path

    plan = Inside("plan.json")
    """The plan of the last run."""
    study = Inside("study.yaml")
    """The study file of the last run."""
    report = Inside("report")
    """Folder of the report."""
    revote = Inside("revote")
    """Folder of the results of `revote`."""
    credit = Inside("credit")
    """Folder of the results of `credit`."""


@dataclass(frozen=True)
class StudyFolder:
    """Files of one study."""

    path: Path

    ledger = Inside("ledger.jsonl")
    """Append-only record of the events of the study's trials."""
    now = Inside("now.json")
    """Progress of the current run."""
    lock = Inside("lock")
    """Held by the process that runs the study."""

    def profile(self, name: str) -> ProfileFolder:
        """Folder of a profile; it is in the study's folder whatever the name is."""
        return ProfileFolder(self.path / "profiles" / (quote(name, safe=" '").replace(".", "%2E") or "%"))


@dataclass(frozen=True)
class Home:
    """The results folder: trials and their stages by content hash, studies by name, the tracking store.

    `keep_critiques`: critiques are stored in it and reused.
    """

    path: Path
    keep_critiques: bool = True

    evaluations = Inside("evals")
    """Contains a folder for each evaluation, named by model, tasks and id."""
    values = Inside("cache/values")
    """Folder of the values of states, which continuations estimate; all of it can be computed again."""
    digests = Inside("cache/report")
    """Folder of what reports computed from large files; all of it can be computed again."""
    tracking = Inside("mlflow.db")
    """Default MLflow store (SQLite)."""
    artifacts = Inside("mlartifacts")
    """Default MLflow artifact root."""

    def trial(self, trial_id: str) -> TrialFolder:
        """Folder of a trial; all studies that contain the trial share it."""
        return TrialFolder(self.path / "trials" / trial_id)

    def study(self, name: str) -> StudyFolder:
        """Folder of a study."""
        return StudyFolder(self.path / "studies" / name)

    def critic(self, measurement_id: str) -> Path:
        """Folder of a critic's measurement."""
        return self.path / "critics" / measurement_id

    def view(self, trial_id: str) -> Path:
        """Page of a trial's rollouts: the default of `capo-bench view`."""
        return self.path / "views" / f"{trial_id}.html"

    def stage(self, kind: StageKind, key: str) -> Path:
        """Folder of a stage, by the hash of its inputs; it is complete if it exists, and never changes."""
        return self.path / "stages" / kind / key

    def stage_lock(self, kind: StageKind, key: str) -> Path:
        """Lock file of the process that works on a stage."""
        return self.path / "stages" / kind / f"{key}.lock"

    @property
    def critiques(self) -> Path | None:
        """Folder of stored critiques; None if critiques are not stored."""
        return self.path / "cache" / "critiques" if self.keep_critiques else None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, with sorted keys; NaN is refused."""
    write_atomic(path, encode_json(value))


def encode_json(value: Any) -> bytes:
    """Return the bytes that `write_json` writes."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ChangedFileError: Its bytes differ from its checksum.
    """
    check_file(path)
    return json.loads(path.read_text(encoding="utf-8"))
