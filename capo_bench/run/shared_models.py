"""Make the models that trials share, cold starts and embedded judges of steps. Each is made once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.run.threads import EMBEDDED_THREADS, fix_threads, set_threads
from capo_bench.store.home import Home, read_json, write_json
from capo_bench.store.provenance import describe_environment
from capo_bench.study.code import Judge, find_embedded_judges
from capo_bench.study.identity import (
    SHARED_TITLES,
    SharedKind,
    hash_cold_start,
    judge_key,
    judge_kind,
    list_shared_models,
)
from evals.checksums import check_folder, seal
from evals.clock import process_seconds
from trainers import Emit
from trainers.backbones import BACKBONES
from trainers.critics.base import EmbeddedCriticConfig
from trainers.critics.local import count_parameters

if TYPE_CHECKING:
    from pydantic import BaseModel

    from capo_bench.study.plan import Trial
    from trainers.config import TrialConfig


def ensure_shared(kind: SharedKind, trial: Trial, home: Home, emit: Emit) -> Path:
    """Return the folder of a shared model of a trial; make the model if it does not exist.

    Raises:
        ValueError: The trial needs no model of this kind.
    """
    if kind == "cold_start":
        return ensure_cold_start(trial, home, emit)
    for judge in find_embedded_judges(trial.config):
        if judge_kind(judge) == kind:
            return ensure_judge(judge, home, emit)
    raise ValueError(f"trial {trial.id} asks no {SHARED_TITLES[kind]}")


def ensure_cold_start(trial: Trial, home: Home, emit: Emit) -> Path:
    """Return the folder of a trial's cold start; make it if it does not exist. The trial must have a cold start."""
    key = hash_cold_start(trial.config)
    assert key is not None
    folder = home.stage("cold_start", key)
    if folder.exists():
        check_folder(folder)
        return folder
    settings = {"trial": trial.as_json(), "folder": str(folder)}
    if BACKBONES.load(trial.config.backbone).source == "embedded":
        make_part(settings, 0, emit, lambda: False)
    else:
        from capo_bench.run.launch import describe_one_process, launch

        task, files = "capo_bench.run.shared_models:make_part", folder.with_name(f".{folder.name}.launch")
        launch(task, settings, describe_one_process(), files, emit, lambda: False)
    return folder


def make_part(settings: dict[str, Any], rank: int, emit: Emit, stop: Callable[[], bool]) -> bool:
    """Make a trial's cold start in this process; see `capo_bench.run.work`."""
    from capo_bench.study.plan import Trial
    from trainers.cold_start import train_cold_start

    trial = Trial.from_json(settings["trial"])
    start = trial.config.supervised
    assert start is not None
    fix_threads(trial)
    make = partial(train_cold_start, BACKBONES.load(trial.config.backbone), start)
    _make_shared("cold_start", make, Path(settings["folder"]), emit, start)
    return True


def ensure_judge(judge: Judge, home: Home, emit: Emit) -> Path:
    """Return the folder of an embedded critic or process reward model; make the model if it does not exist."""
    kind = judge_kind(judge)
    folder = home.stage(kind, judge_key(judge))
    check_folder(folder)
    if not folder.exists():
        set_threads(EMBEDDED_THREADS)
        _make_shared(kind, _choose_trainer(judge), folder, emit, judge)
    return folder


def _choose_trainer(judge: Judge) -> Callable[[Path, Emit], dict[str, int] | None]:
    if isinstance(judge, EmbeddedCriticConfig):
        from trainers.critics.embedded import train_critic

        return partial(train_critic, judge)
    from trainers.prm.embedded import train_prm

    return partial(train_prm, judge)


def _make_shared(
    kind: SharedKind,
    make: Callable[[Path, Emit], dict[str, int] | None],
    folder: Path,
    emit: Emit,
    settings: BaseModel,
) -> None:
    """Make a shared model in a temporary folder, then rename the folder to its final name.

    `make` trains the model in a folder and may return counts, which are stored with the cost.
    """
    title = SHARED_TITLES[kind]
    emit({"kind": "stage", "stage": title})
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(scratch, ignore_errors=True)
    began, worked, seen = time.perf_counter(), process_seconds(), 0.0

    def tell(record: dict[str, Any]) -> None:
        nonlocal seen
        seen = float(record["num_input_tokens_seen"])
        emit_step(emit, "preparing", record, model=title)

    counts = make(scratch, tell) or {}
    cost = {"seconds": time.perf_counter() - began, "cpu_seconds": process_seconds() - worked}
    parameters = counts.get("parameters") or count_parameters(scratch) or 0
    # Forward and backward pass: 2·N and 4·N operations per token for N parameters (`trainers.budget`).
    cost |= {"tokens": seen, "parameters": parameters, "train_flops": 6 * parameters * seen, **counts}
    write_json(
        scratch / f"{kind}.json", {kind: settings.model_dump(mode="json"), "cost": cost, **describe_environment()}
    )
    seal(scratch, [path.name for path in scratch.iterdir()])
    scratch.rename(folder)


def read_teaching_costs(config: TrialConfig, home: Home) -> dict[str, dict[str, Any]]:
    """Return the cost of each shared model of a trial, by kind: ``key``, ``seconds``, ``cpu_seconds`` and so on."""
    return {
        model.kind: {"key": model.key, **read_json(home.stage(model.kind, model.key) / f"{model.kind}.json")["cost"]}
        for model in list_shared_models(config)
    }


def emit_step(emit: Emit, kind: str, record: dict[str, Any], **more: str) -> None:
    """Emit a message about one optimizer step."""
    metrics = {name: value for name, value in record.items() if name not in {"step", "of"}}
    emit({"kind": kind, "step": record["step"], "of": record["of"], "metrics": metrics, **more})
