"""The training stage of a trial: from its start, or from the checkpoint of an earlier try."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO

from capo_bench.home import Home, TrialFolder, read_json, write_json
from capo_bench.run.attempt import Attempt
from capo_bench.run.shared import emit_step, ensure_shared
from capo_bench.study.identity import shared_models
from evals.files import write_atomic
from trainers.backbones import BACKBONES
from trainers.methods import METHODS, Emit, TrainRun
from trainers.rollouts import drop_after

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

TRIAL_THREADS = 1
"""Threads of an embedded backbone: fixed, because their number decides the order of sums, and with it bits."""


def train(  # noqa: PLR0913, PLR0917 - what is trained, from where, how, and who is told
    trial: Trial, home: Home, start: str, emit: Emit, stop: Callable[[], bool], attempt: Attempt
) -> bool:
    """Train from the start or the checkpoint of an earlier stop; true when the trained model is in place."""
    method = METHODS.get(trial.config.method)
    assert method.train is not None
    folder = home.trial(trial.id)
    fix_threads(trial, TRIAL_THREADS)
    emit({"kind": "stage", "stage": "train"})
    resume = _resume_point(folder)
    module, _, function = method.train.partition(":")
    scratch = folder.path / ".model"
    shared = shared_models(trial.config)
    critic = ensure_shared("critic", trial, home, emit) if "critic" in {model.kind for model in shared} else None
    with folder.steps.open("a", encoding="utf-8") as log:
        run = TrainRun(
            config=trial.config,
            seed=trial.seed,
            start=start,
            resume=resume,
            out=folder.checkpoints,
            model=scratch,
            rollouts=folder.rollouts,
            critic=critic,
            critique_cache=home.critiques,
            record=partial(_record, log, emit),
            stop=stop,
        )
        finished = bool(getattr(import_module(module), function)(run))
    if finished:
        shutil.rmtree(folder.evaluation, ignore_errors=True)  # of a model that is no more
        scratch.rename(folder.model)
    else:
        _mark_resume_point(folder)
    return finished


def _record(log: TextIO, emit: Emit, record: dict[str, Any]) -> None:
    log.write(json.dumps(record, default=float) + "\n")
    log.flush()
    emit_step(emit, "step", record)


def _resume_point(folder: TrialFolder) -> str | None:
    """Return the checkpoint to go on from, if there is one, and drop the records of steps after it."""
    mark = folder.checkpoints / "resume.json"
    shutil.rmtree(folder.path / ".model", ignore_errors=True)
    if not mark.exists():
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        folder.steps.unlink(missing_ok=True)
        drop_after(folder.rollouts, 0)
        return None
    point = read_json(mark)
    drop_after(folder.rollouts, point["step"])
    kept = [json.dumps(record) for record in read_steps(folder) if record["step"] <= point["step"]]
    write_atomic(folder.steps, "".join(line + "\n" for line in kept))
    return str(folder.checkpoints / point["checkpoint"])


def _mark_resume_point(folder: TrialFolder) -> None:
    """Name the checkpoint that is now complete; written after it, so that a torn one is never named."""
    steps = sorted(int(path.name.partition("-")[2]) for path in folder.checkpoints.glob("checkpoint-*"))
    write_json(folder.checkpoints / "resume.json", {"checkpoint": f"checkpoint-{steps[-1]}", "step": steps[-1]})
    for step in steps[:-1]:
        shutil.rmtree(folder.checkpoints / f"checkpoint-{step}")


def read_steps(folder: TrialFolder) -> list[dict[str, Any]]:
    """Return the step records; a line torn by a crash is dropped."""
    if not folder.steps.exists():
        return []
    text = folder.steps.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def fix_threads(trial: Trial, count: int) -> None:
    """Fix the number of threads of an embedded backbone; a larger one keeps what the worker was given."""
    import torch

    if BACKBONES.load(trial.config.backbone).source == "embedded":
        torch.set_num_threads(count)
