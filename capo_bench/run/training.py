"""The training stage of a trial: from its start, or from the newest checkpoint of an earlier try.

Order makes it safe to be killed at any moment: the record of a step is on the disk before a checkpoint after it is
marked, what lies after the mark is dropped before training goes on, and the trained model appears at once, after which
training is not begun again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from capo_bench.home import Home, TrialFolder, read_json, write_json
from capo_bench.run.attempt import Attempt
from capo_bench.run.failures import usual_micro_batch
from capo_bench.run.shared import emit_step, ensure_shared
from capo_bench.run.threads import fix_threads
from capo_bench.study.identity import shared_models
from evals.files import write_atomic
from trainers.backbones import BACKBONES
from trainers.checkpoints import Checkpoint, newest, sync
from trainers.methods import METHODS, Emit, TrainRun
from trainers.rollouts import drop_after

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial


@dataclass(frozen=True)
class Training:
    """The training of a trial as plain values, of which every process that takes part makes its own `TrainRun`.

    Attributes:
        trial: What is trained.
        folder: Receives everything that training leaves.
        start: Folder or repository id of the model to start from.
        critic: Folder of the embedded critic, where the trial asks for it.
        prm: Folder of the embedded process reward model, where the trial asks for it.
        critiques: Folder in which critiques are kept; None keeps none.
        resume: Folder of the checkpoint to go on from.
        attempt: How it is tried.
    """

    trial: Trial
    folder: TrialFolder
    start: str
    critic: Path | None
    prm: Path | None
    critiques: Path | None
    resume: str | None
    attempt: Attempt

    def run(self, record: Emit, stop: Callable[[], bool]) -> TrainRun:
        """Return what the method is given.

        Args:
            record: Gets the record of every step; where several processes train, one of them is to write it.
            stop: Asked after every step; true in any of them stops all.
        """
        return TrainRun(
            config=self.trial.config,
            seed=self.trial.seed,
            start=self.start,
            out=self.folder.checkpoints,
            model=_scratch(self.folder),
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


def train(  # noqa: PLR0913, PLR0917 - what is trained, from where, how, and who is told
    trial: Trial, home: Home, start: str, emit: Emit, stop: Callable[[], bool], attempt: Attempt
) -> bool:
    """Train what is left to train.

    Args:
        trial: What is trained, by a method that trains.
        home: The results folder.
        start: Folder or repository id of the model to start from.
        emit: Told of stages and steps.
        stop: Asked after every step; true: save and return.
        attempt: How it is tried.

    Returns:
        True when the trained model is in place, False when it was stopped with a checkpoint.
    """
    folder = home.trial(trial.id)
    fix_threads(trial)
    kinds = {model.kind for model in shared_models(trial.config)}
    critic = ensure_shared("critic", trial, home, emit) if "critic" in kinds else None
    prm = ensure_shared("prm", trial, home, emit) if "prm" in kinds else None
    fix_threads(trial)
    emit({"kind": "stage", "stage": "train"})
    point = _resume_point(folder)
    _tell_micro_batch(trial, folder, attempt, point)
    resume = None if point is None else str(point.path)
    training = Training(trial, folder, start, critic, prm, home.critiques, resume, attempt)
    finished = _train(training, emit, stop)
    if finished:
        _keep_model(folder)
    return finished


def _train(training: Training, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Train in this process, or in as many as the backbone says."""
    if BACKBONES.load(training.trial.config.backbone).processes > 1:
        from capo_bench.run.launch import launch

        return launch(training, emit, stop)
    with training.folder.steps.open("a", encoding="utf-8") as log:
        return train_here(training.run(partial(record_step, log, emit), stop))


def train_here(run: TrainRun) -> bool:
    """Train in this process; true when the trained model is in `run.model`, False when it was stopped."""
    method = METHODS.get(run.config.method)
    assert method.train is not None
    module, _, function = method.train.partition(":")
    return bool(getattr(import_module(module), function)(run))


def record_step(log: TextIO, emit: Emit, record: dict[str, Any]) -> None:
    """Append the record of a step to a trial's steps, on the disk when this returns, and tell of it."""
    log.write(json.dumps(record, default=float) + "\n")
    log.flush()
    os.fsync(log.fileno())
    emit_step(emit, "step", record)


def read_steps(folder: TrialFolder) -> list[dict[str, Any]]:
    """Return the step records; a line torn by a crash is dropped."""
    if not folder.steps.exists():
        return []
    text = folder.steps.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _resume_point(folder: TrialFolder) -> Checkpoint | None:
    """Return the checkpoint to go on from, if there is one, and drop whatever a killed try left after it."""
    shutil.rmtree(_scratch(folder), ignore_errors=True)
    point = newest(folder.checkpoints)
    if point is None:
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        folder.steps.unlink(missing_ok=True)
        drop_after(folder.rollouts, 0)
        return None
    drop_after(folder.rollouts, point.step)
    kept = [json.dumps(record) for record in read_steps(folder) if record["step"] <= point.step]
    write_atomic(folder.steps, "".join(line + "\n" for line in kept))
    return point


def _tell_micro_batch(trial: Trial, folder: TrialFolder, attempt: Attempt, point: Checkpoint | None) -> None:
    """Write down the micro-batch from here on, and after which step it was another; null: a step's rollouts at once."""
    size = attempt.micro_batch or usual_micro_batch(trial.config)
    told = read_json(folder.training)["micro_batches"] if point and folder.training.exists() else []
    kept = [entry for entry in told if point and entry["after"] < point.step]
    if not kept or kept[-1]["micro_batch"] != size:
        kept.append({"after": point.step if point else 0, "micro_batch": size})
    write_json(folder.training, {"micro_batch": size, "micro_batches": kept})


def _keep_model(folder: TrialFolder) -> None:
    """Put the trained model in place; with it training is done, and needs its checkpoints no more."""
    shutil.rmtree(folder.evaluation, ignore_errors=True)  # of a model that is no more
    sync(_scratch(folder))
    _scratch(folder).rename(folder.model)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)


def _scratch(folder: TrialFolder) -> Path:
    return folder.path / ".model"
