"""One trial, stage by stage: cold start, training, evaluation, record.

Every stage leaves files that appear whole or not at all. The last file written is the trial's metrics, so a trial is
done exactly when they are there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.home import Home, TrialFolder, write_json
from capo_bench.provenance import environment
from capo_bench.run.attempt import Attempt
from capo_bench.run.evaluation import evaluate
from capo_bench.run.shared import ensure_cold_start
from capo_bench.run.training import TRIAL_THREADS, fix_threads, read_steps, train
from capo_bench.study.identity import cold_start_key
from evals.fingerprint import weights_fingerprint
from trainers.backbones import BACKBONES
from trainers.methods import METHODS, Emit

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

COUNTS = (
    *("policy_tokens", "critic_tokens", "critic_prompt_tokens", "critic_cached_tokens", "critic_output_tokens"),
    *("critiques", "critiques_reused", "abstained"),
)


def run_trial(trial: Trial, home: Home, emit: Emit, stop: Callable[[], bool], attempt: Attempt) -> bool:
    """Run a trial, or what is left of it.

    Args:
        trial: What to run.
        home: The results folder.
        emit: Told of stages and steps.
        stop: Asked between steps and stages; true: save and return.
        attempt: How it is tried.

    Returns:
        True when the trial is done, False when it was stopped and can be resumed.
    """
    folder = home.trial(trial.id)
    started = _now()
    write_json(folder.config, trial.as_json())
    start = _start(trial, home, emit)
    if (
        METHODS.get(trial.config.method).train
        and not folder.model.exists()
        and not train(trial, home, start, emit, stop, attempt)
    ):
        return False
    model = str(folder.model) if folder.model.exists() else start
    fix_threads(trial, TRIAL_THREADS)
    began = time.perf_counter()
    metrics = evaluate(trial.config, trial.seed, model, folder.evaluation, emit, stop)
    if metrics is None:
        return False
    steps = read_steps(folder)
    write_json(folder.provenance, _provenance(trial, start, folder, started))
    write_json(folder.metrics, {"metrics": metrics, "cost": _cost(steps, time.perf_counter() - began)})
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return True


def _start(trial: Trial, home: Home, emit: Emit) -> str:
    backbone = BACKBONES.load(trial.config.backbone)
    if backbone.source == "hub" and trial.config.cold_start is None:
        assert backbone.model is not None
        return backbone.model
    return str(ensure_cold_start(trial, home, emit))


def _cost(steps: Iterable[dict[str, Any]], evaluate_seconds: float) -> dict[str, float]:
    steps = list(steps)
    seconds = {
        f"{stage}_seconds": sum(float(step.get(f"seconds_{stage}", 0.0)) for step in steps)
        for stage in ("generate", "verify", "critique", "update")
    }
    train = sum(float(step["seconds"]) for step in steps)
    counts = {name: int(sum(step.get(name, 0) for step in steps)) for name in COUNTS}
    waited = sum(float(step.get("critic_wait", 0.0)) for step in steps)
    money = sum(float(step.get("critic_money", 0.0)) for step in steps)
    whole = {"wall_seconds": train + evaluate_seconds, "train_seconds": train, "evaluate_seconds": evaluate_seconds}
    return {**whole, **seconds, **counts, "critic_wait_seconds": waited, "critic_money": money}


def _provenance(trial: Trial, start: str, folder: TrialFolder, started: str) -> dict[str, Any]:
    fingerprints = {
        "start_weights": weights_fingerprint(Path(start)),
        "final_weights": weights_fingerprint(folder.model),
        "benchmark": trial.identity["benchmark"]["fingerprint"],
        "cold_start": cold_start_key(trial.config),
    }
    return {
        **environment(),
        "verifier": trial.identity["verifier"],
        "fingerprints": fingerprints,
        "seed": trial.seed,
        "started": started,
        "finished": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
