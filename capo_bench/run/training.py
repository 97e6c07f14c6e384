"""The training stage of a trial, from its starting model or from the newest checkpoint of an earlier attempt.

Each line in ``steps.sums`` is the checksum of one step record; with it a resume detects damaged or lost records. The
order of writes makes it safe to kill training at any moment: a step's record is on disk before a later checkpoint is
marked as complete, records after the last complete checkpoint are dropped before training resumes, and the trained
model appears by a single rename, after which training does not run again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TextIO

from pydantic import TypeAdapter

from capo_bench.run.executor import Attempt
from capo_bench.run.failures import find_micro_batch
from capo_bench.run.shared_models import emit_step, ensure_judge
from capo_bench.run.threads import fix_threads
from capo_bench.store.home import Home, TrialFolder, read_json, write_json
from capo_bench.store.keyed import drop_answers
from capo_bench.study.code import find_embedded_judges
from capo_bench.study.identity import judge_kind
from capo_bench.study.plan import Trial
from evals.checksums import check_file
from evals.files import write_atomic
from trainers import Emit
from trainers.backbones import BACKBONES
from trainers.checkpoints import Checkpoint, find_newest, sync
from trainers.methods import METHODS
from trainers.rollouts import drop_after, list_stored_steps
from trainers.run import TrainRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """The training of a trial as plain values, from which each participating process creates its own `TrainRun`.

    Attributes:
        start: Folder or repository id of the model to start from.
        critic: Folder of the embedded critic, if the trial uses one.
        prm: Folder of the embedded process reward model, if the trial uses one.
        critiques: Cache of critiques.
        resume: Folder of the checkpoint to resume from; None: training starts from `start`.
    """

    trial: Trial
    folder: TrialFolder
    start: str
    critic: Path | None
    prm: Path | None
    critiques: Path | None
    resume: str | None
    attempt: Attempt

    def as_json(self) -> dict[str, Any]:
        """Return the training as plain values."""
        plain: dict[str, Any] = _TRAINING.dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Training:
        """Return the training that `as_json` serialized."""
        return _TRAINING.validate_python(plain)

    def run(self, record: Emit, stop: Callable[[], bool]) -> TrainRun:
        """Return the input of the method's train function.

        `record` gets the record of every step; if several processes train, only one of them should write it. `stop` is
        called after every step; True in any process stops all of them.
        """
        return TrainRun(
            config=self.trial.config,
            seed=self.trial.seed,
            start=self.start,
            out=self.folder.checkpoints,
            model=_name_scratch(self.folder),
            rollouts=self.folder.rollouts,
            record=record,
            resume=self.resume,
            critic=self.critic,
            prm=self.prm,
            critique_cache=self.critiques,
            stop=stop,
            checkpoint_seconds=self.attempt.checkpoint_seconds,
            micro_batch=self.attempt.micro_batch,
        )


_TRAINING = TypeAdapter(Training)


def train(  # noqa: PLR0913, PLR0917 - what is trained, from where, how, and who is notified
    trial: Trial, home: Home, start: str, emit: Emit, stop: Callable[[], bool], attempt: Attempt
) -> bool:
    """Run the remaining training of a trial from the model `start`, a folder or repository id.

    The trial's method must be one that trains.

    Returns:
        True when the trained model is in place, False when `stop`, called after every step, requested an early end and
        a checkpoint was saved.
    """
    folder = home.trial(trial.id)
    judges = {judge_kind(judge): ensure_judge(judge, home, emit) for judge in find_embedded_judges(trial.config)}
    emit({"kind": "stage", "stage": "train"})
    point = _find_resume_point(folder)
    _write_micro_batch(trial, folder, attempt, point)
    resume = None if point is None else str(point.path)
    critic, prm = judges.get("critic"), judges.get("prm")
    training = Training(trial, folder, start, critic, prm, home.critiques, resume, attempt)
    finished = _train(training, emit, stop)
    if finished:
        drop_answers(folder)
        scratch = _name_scratch(folder)
        (scratch / "training_args.bin").unlink(missing_ok=True)  # a pickle written by TRL that is not used
        sync(scratch)
        scratch.rename(folder.model)  # training is done when this folder exists
    return finished


def _train(training: Training, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Train in this process or in others: a hub model is too large to share a process with the later stages."""
    name = training.trial.config.backbone
    backbone = BACKBONES.load(name)
    if backbone.source == "embedded" and backbone.processes == 1:
        return _train_here(training, 0, emit, stop)
    from capo_bench.run.launch import describe_training_processes, launch

    task, processes = "capo_bench.run.training:train_part", describe_training_processes(name)
    return launch(task, training.as_json(), processes, training.folder.processes, emit, stop)


def train_part(settings: dict[str, Any], rank: int, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Do one process's part of a training; see `capo_bench.run.work`."""
    import torch

    training = Training.from_json(settings)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # before anything is loaded to the default GPU
    return _train_here(training, rank, emit, stop)


def _train_here(training: Training, rank: int, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Train in this process; return True when the model is in its temporary folder, False when training was stopped.

    Only the first process writes step records; each is on disk before a later checkpoint is marked as complete.
    """
    fix_threads(training.trial)
    method = METHODS.get(training.trial.config.method)
    assert method.train is not None
    with training.folder.steps.open("a", encoding="utf-8") as steps:
        record: Emit = partial(record_step, steps, emit) if rank == 0 else lambda step: None
        return bool(resolve_name(method.train)(training.run(record, stop)))


def record_step(steps: TextIO, emit: Emit, record: dict[str, Any]) -> None:
    """Append a step record and its checksum to a trial's files, write them to disk, and emit the record."""
    line = json.dumps(record, default=float) + "\n"
    with _name_sums(Path(steps.name)).open("a", encoding="ascii") as sums:
        _write_to_disk(sums, f"{_hash_line(line)}\n")
    _write_to_disk(steps, line)
    emit_step(emit, "step", record)


def _write_to_disk(file: TextIO, line: str) -> None:
    file.write(line)
    file.flush()
    os.fsync(file.fileno())


def _hash_line(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def read_steps(folder: TrialFolder) -> list[dict[str, Any]]:
    """Return the step records; a line that a crash left incomplete is dropped."""
    check_file(folder.steps)
    return [json.loads(line) for line in _read_step_lines(folder)]


def _read_step_lines(folder: TrialFolder) -> list[str]:
    text = folder.steps.read_text(encoding="utf-8") if folder.steps.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _find_resume_point(folder: TrialFolder) -> Checkpoint | None:
    """Return the checkpoint to resume from, if there is one, and delete all later files of an interrupted attempt."""
    shutil.rmtree(_name_scratch(folder), ignore_errors=True)
    point = find_newest(folder.checkpoints)
    if point is not None:
        drop_after(folder.rollouts, point.step)
        if flaw := _find_flaw(folder, point.step):
            log.warning("%s: training starts from nothing", flaw)
            point = None
    if point is None:
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        for path in (folder.steps, _name_sums(folder.steps)):
            path.unlink(missing_ok=True)
        drop_after(folder.rollouts, 0)
        return None
    write_atomic(folder.steps, "".join(_read_step_lines(folder)[: point.step]))
    return point


def _find_flaw(folder: TrialFolder, steps: int) -> str:
    """Describe a damaged or missing record or rollout of the first `steps` steps; empty if there is none."""
    sums, lines = _name_sums(folder.steps), _read_step_lines(folder)[:steps]
    written = set(sums.read_text(encoding="ascii", errors="replace").split()) if sums.exists() else set[str]()
    if len(lines) < steps or any(_hash_line(line) not in written for line in lines):
        return f"{folder.steps} is not as it was written"
    stored = list_stored_steps(folder.rollouts)
    if [*stored] != [*range(1, steps + 1)] or len({len(paths) for paths in stored.values()}) > 1:
        return f"{folder.rollouts} lacks some of the rollouts of steps 1 to {steps}"
    return ""


def _write_micro_batch(trial: Trial, folder: TrialFolder, attempt: Attempt, point: Checkpoint | None) -> None:
    """Write the micro-batch size from this step on, and after which step it changed; null: all rollouts at once."""
    size = attempt.micro_batch or find_micro_batch(trial.config)
    entries = read_json(folder.training)["micro_batches"] if point and folder.training.exists() else []
    kept = [entry for entry in entries if point and entry["after"] < point.step]
    if not kept or kept[-1]["micro_batch"] != size:
        kept.append({"after": point.step if point else 0, "micro_batch": size})
    write_json(folder.training, {"micro_batch": size, "micro_batches": kept})


def settle(folder: TrialFolder) -> None:
    """Delete the files that only a resume of training needs; training has ended."""
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    _name_sums(folder.steps).unlink(missing_ok=True)


def _name_scratch(folder: TrialFolder) -> Path:
    return folder.trained / ".model"


def _name_sums(steps: Path) -> Path:
    """Return the file with the checksums of step records, which exists during training."""
    return steps.with_suffix(".sums")
