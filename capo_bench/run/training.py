"""The training stage of a trial: from its start, or from the newest checkpoint of an earlier try.

A line in ``steps.sums`` is the checksum of each step's record, so that a resume notices one that is damaged or lost.
Order makes it safe to be killed at any moment: the record of a step is on the disk before a checkpoint after it is
marked, what lies after the mark is dropped before training goes on, and the trained model appears at once, after which
training is not begun again.
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
from capo_bench.run.failures import usual_micro_batch
from capo_bench.run.shared_models import emit_step, ensure_judge
from capo_bench.run.threads import fix_threads
from capo_bench.store.home import Home, TrialFolder, read_json, write_json
from capo_bench.store.keyed import drop_answers
from capo_bench.study.code import embedded_judges
from capo_bench.study.identity import judge_kind
from capo_bench.study.plan import Trial
from evals.checksums import check_file
from evals.files import write_atomic
from trainers import Emit
from trainers.backbones import BACKBONES
from trainers.checkpoints import Checkpoint, newest, sync
from trainers.methods import METHODS
from trainers.rollouts import drop_after, stored_steps
from trainers.run import TrainRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """The training of a trial as plain values, of which every process that takes part makes its own `TrainRun`.

    It starts from the model `start` (a folder or repository id), or goes on from the checkpoint in the folder `resume`.
    `critic` and `prm` are folders of embedded models, where the trial asks for them; `critiques` keeps critiques.
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
        """Return it as plain values."""
        plain: dict[str, Any] = _TRAINING.dump_python(self, mode="json")
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Training:
        """Return what `as_json` wrote down."""
        return _TRAINING.validate_python(plain)

    def run(self, record: Emit, stop: Callable[[], bool]) -> TrainRun:
        """Return what the method is given.

        `record` gets the record of every step; where several processes train, one of them is to write it. `stop` is
        asked after every step: true in any of them stops all.
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


_TRAINING = TypeAdapter(Training)


def train(  # noqa: PLR0913, PLR0917 - what is trained, from where, how, and who is told
    trial: Trial, home: Home, start: str, emit: Emit, stop: Callable[[], bool], attempt: Attempt
) -> bool:
    """Train what is left to train, from the model `start` (a folder or repository id), by a method that trains.

    Returns True when the trained model is in place, False when `stop`, asked after every step, had it save a
    checkpoint.
    """
    folder = home.trial(trial.id)
    judges = {judge_kind(judge): ensure_judge(judge, home, emit) for judge in embedded_judges(trial.config)}
    emit({"kind": "stage", "stage": "train"})
    point = _resume_point(folder)
    _tell_micro_batch(trial, folder, attempt, point)
    resume = None if point is None else str(point.path)
    critic, prm = judges.get("critic"), judges.get("prm")
    training = Training(trial, folder, start, critic, prm, home.critiques, resume, attempt)
    finished = _train(training, emit, stop)
    if finished:
        drop_answers(folder)
        scratch = _scratch(folder)
        (scratch / "training_args.bin").unlink(missing_ok=True)  # a pickle of TRL's, which nobody reads
        sync(scratch)
        scratch.rename(folder.model)  # with it training is done
    return finished


def _train(training: Training, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Train in this process, or in others: a model of a hub is too large to live with what comes after it."""
    name = training.trial.config.backbone
    backbone = BACKBONES.load(name)
    if backbone.source == "embedded" and backbone.processes == 1:
        return _train_here(training, 0, emit, stop)
    from capo_bench.run.launch import launch, training_processes
    from capo_bench.run.work import Work

    work = Work("capo_bench.run.training:train_part", training.as_json())
    return launch(work, training_processes(name), training.folder.processes, emit, stop)


def train_part(settings: dict[str, Any], rank: int, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Do a process's part of a training; see `capo_bench.run.work.Work`."""
    import torch

    training = Training.from_json(settings)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # before anything is loaded "onto the GPU"
    return _train_here(training, rank, emit, stop)


def _train_here(training: Training, rank: int, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Train in this process; true when the trained model is in place of the scratch one, False when it was stopped.

    The first process writes the records of the steps, each on the disk before a checkpoint after it is marked.
    """
    fix_threads(training.trial)
    method = METHODS.get(training.trial.config.method)
    assert method.train is not None
    with training.folder.steps.open("a", encoding="utf-8") as steps:
        record: Emit = partial(record_step, steps, emit) if rank == 0 else lambda step: None
        return bool(resolve_name(method.train)(training.run(record, stop)))


def record_step(steps: TextIO, emit: Emit, record: dict[str, Any]) -> None:
    """Append the record of a step to a trial's steps, on the disk when this returns, and tell of it."""
    line = json.dumps(record, default=float) + "\n"
    with _sums(Path(steps.name)).open("a", encoding="ascii") as sums:
        _write(sums, f"{_sum(line)}\n")
    _write(steps, line)
    emit_step(emit, "step", record)


def _write(file: TextIO, line: str) -> None:
    file.write(line)
    file.flush()
    os.fsync(file.fileno())


def _sum(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def read_steps(folder: TrialFolder) -> list[dict[str, Any]]:
    """Return the step records; a line torn by a crash is dropped."""
    check_file(folder.steps)
    return [json.loads(line) for line in _step_lines(folder)]


def _step_lines(folder: TrialFolder) -> list[str]:
    text = folder.steps.read_text(encoding="utf-8") if folder.steps.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _resume_point(folder: TrialFolder) -> Checkpoint | None:
    """Return the checkpoint to go on from, if there is one, and drop whatever a killed try left after it."""
    shutil.rmtree(_scratch(folder), ignore_errors=True)
    point = newest(folder.checkpoints)
    if point is not None:
        drop_after(folder.rollouts, point.step)
        if flaw := _flaw(folder, point.step):
            log.warning("%s: training starts from nothing", flaw)
            point = None
    if point is None:
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        for path in (folder.steps, _sums(folder.steps)):
            path.unlink(missing_ok=True)
        drop_after(folder.rollouts, 0)
        return None
    write_atomic(folder.steps, "".join(_step_lines(folder)[: point.step]))
    return point


def _flaw(folder: TrialFolder, steps: int) -> str:
    """Return what of the first steps' records and rollouts is not as training left it; empty where all is."""
    sums, lines = _sums(folder.steps), _step_lines(folder)[:steps]
    written = set(sums.read_text(encoding="ascii", errors="replace").split()) if sums.exists() else set[str]()
    if len(lines) < steps or any(_sum(line) not in written for line in lines):
        return f"{folder.steps} is not as it was written"
    stored = stored_steps(folder.rollouts)
    if [*stored] != [*range(1, steps + 1)] or len({len(paths) for paths in stored.values()}) > 1:
        return f"{folder.rollouts} lacks some of the rollouts of steps 1 to {steps}"
    return ""


def _tell_micro_batch(trial: Trial, folder: TrialFolder, attempt: Attempt, point: Checkpoint | None) -> None:
    """Write down the micro-batch from here on, and after which step it was another; null: a step's rollouts at once."""
    size = attempt.micro_batch or usual_micro_batch(trial.config)
    entries = read_json(folder.training)["micro_batches"] if point and folder.training.exists() else []
    kept = [entry for entry in entries if point and entry["after"] < point.step]
    if not kept or kept[-1]["micro_batch"] != size:
        kept.append({"after": point.step if point else 0, "micro_batch": size})
    write_json(folder.training, {"micro_batch": size, "micro_batches": kept})


def settle(folder: TrialFolder) -> None:
    """Delete what only a resume of a training would need that has ended."""
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    _sums(folder.steps).unlink(missing_ok=True)


def _scratch(folder: TrialFolder) -> Path:
    return folder.trained / ".model"


def _sums(steps: Path) -> Path:
    """Return where the checksum of each step's record is, while training."""
    return steps.with_suffix(".sums")
