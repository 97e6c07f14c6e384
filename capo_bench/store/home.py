"""Where results live. The one place that knows the layout of the folder given by --home."""

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
"""What stands under a key: models that are made before trials, what a training left, what one task was answered."""


_LISTED = re.compile(r"(training|completions/[^/\x00]+) [0-9a-f]{12}")
"""A stage's place in a trial's folder, and its key."""


class Inside:
    """An attribute that is the path of a file or folder inside another one, whose path is the attribute `folder`."""

    def __init__(self, name: str, folder: str = "path") -> None:
        self._name, self._folder = name, folder

    def __get__(self, owner: object, kind: type) -> Path:
        folder: Path = getattr(owner, self._folder)
        return folder / self._name


@dataclass(frozen=True)
class TrialFolder:
    """Files of one trial. `metrics` is written last, atomically: a trial is done when it is there."""

    path: Path

    config = Inside("config.json")
    """Resolved config and the parts of the identity."""
    provenance = Inside("provenance.json")
    """Commit, packages, hardware, fingerprints."""
    stages = Inside("stages.json")
    """Keys of the stages that it shares, by their places in it: ``training``, ``completions/<task>``."""
    metrics = Inside("metrics.json")
    """Final metrics and costs."""
    log = Inside("trial.log")
    """What the trial's process printed and logged."""
    processes = Inside(".launch")
    """Where the worker talks with processes that work for it; gone when they have ended."""
    evaluation = Inside("evaluation")
    """How its answers were scored, one folder a task."""
    steps = Inside("steps.jsonl", "trained")
    """One record per optimizer step."""
    rollouts = Inside("rollouts", "trained")
    """What training sampled and what the critic said of it, one file per optimizer step and process."""
    model = Inside("model", "trained")
    """Final weights and tokenizer."""
    training = Inside("training.json", "trained")
    """How training went beside its steps."""
    checkpoints = Inside("checkpoints", "trained")
    """Checkpoints while training; gone when it is done."""

    @property
    def trained(self) -> Path:
        """Folder of all that training left."""
        return self._stage("training")

    def completions(self, task: str) -> Path:
        """Folder of what the trained policy was asked of a task, and answered."""
        return self._stage(f"completions/{task}")

    def samples(self, task: str) -> Path:
        """Scored samples of one task of the evaluation."""
        return self.evaluation / task / "samples.jsonl"

    def keys(self) -> dict[str, str]:
        """Return the keys in `stages`; a stage that is not among them lies in the trial's own folder.

        Raises:
            ValueError: The file lists something else, such as a path: a bundle may come from anybody.
        """
        keys = dict(read_json(self.stages)) if self.stages.exists() else {}
        if bad := [f"{place}: {key}" for place, key in keys.items() if not _LISTED.fullmatch(f"{place} {key}")]:
            raise ValueError(f"{self.stages}: no stage under a key: {', '.join(bad)}")
        return keys

    def shared(self) -> list[Path]:
        """Return the folders of the stages that it shares."""
        return [self._under(place, key) for place, key in self.keys().items()]

    def place(self, path: Path) -> str:
        """Return where a file of the trial is in the results folder."""
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
    """Files of one profile of a study: the plan that was last run, and what commands made of its results."""

    path: Path

    plan = Inside("plan.json")
    """The plan as it was last run."""
    study = Inside("study.yaml")
    """The study file as it was last run."""
    report = Inside("report")
    """Folder of the report."""
    revote = Inside("revote")
    """Folder of the replay of other votes."""
    credit = Inside("credit")
    """Folder of the fidelity of credit."""


@dataclass(frozen=True)
class StudyFolder:
    """Files of one study."""

    path: Path

    ledger = Inside("ledger.jsonl")
    """Append-only record of what happened to the study's trials."""
    now = Inside("now.json")
    """What the run that goes on is at."""
    lock = Inside("lock")
    """Held by the process that runs the study."""

    def profile(self, name: str) -> ProfileFolder:
        """Folder of a profile; no name leads out of the study's folder."""
        return ProfileFolder(self.path / "profiles" / (quote(name, safe=" '").replace(".", "%2E") or "%"))


@dataclass(frozen=True)
class Home:
    """The results folder: trials and their stages by content hash, studies by name, the tracking store.

    `keep_critiques`: critiques are kept in it, and taken from it.
    """

    path: Path
    keep_critiques: bool = True

    evaluations = Inside("evals")
    """Holds a folder for each evaluation, named by model, tasks and id."""
    values = Inside("cache/values")
    """Folder of the values of states, counted over continuations; all of it can be counted again."""
    digests = Inside("cache/report")
    """Folder of what reports have worked out of large files; all of it can be worked out again."""
    tracking = Inside("mlflow.db")
    """Default MLflow store (SQLite)."""
    artifacts = Inside("mlartifacts")
    """Default MLflow artifact root."""

    def trial(self, trial_id: str) -> TrialFolder:
        """Folder of a trial, shared by every study that contains it."""
        return TrialFolder(self.path / "trials" / trial_id)

    def study(self, name: str) -> StudyFolder:
        """Folder of a study."""
        return StudyFolder(self.path / "studies" / name)

    def critic(self, measurement_id: str) -> Path:
        """Folder of a critic's measurement."""
        return self.path / "critics" / measurement_id

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


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, keys sorted; NaN is refused."""
    write_atomic(path, encode_json(value))


def encode_json(value: Any) -> bytes:
    """Return what `write_json` writes."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ChangedFileError: Its bytes are not those that were written.
    """
    check_file(path)
    return json.loads(path.read_text(encoding="utf-8"))
