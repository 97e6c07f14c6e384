"""Run one trial, stage by stage: cold start, training, generation, scoring, record.

The files of a stage appear completely or not at all, and a stage is skipped if its files exist. The metrics are the
last file, so a trial is done exactly when they exist. Training and completions are stored under keys; existing results
under a key are reused (`capo_bench.store.keyed`).
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.run.evaluation import ask, list_pending_tasks, score
from capo_bench.run.executor import Attempt
from capo_bench.run.shared_models import ensure_cold_start, read_teaching_costs
from capo_bench.run.training import read_steps, settle, train
from capo_bench.store.home import Home, TrialFolder, encode_json, read_json, write_json
from capo_bench.store.keyed import claim_stages, keep, take_answered, take_trained
from capo_bench.store.provenance import describe_environment
from capo_bench.study.code import list_definitions
from capo_bench.study.contamination import encode_overlaps
from capo_bench.study.identity import hash_cold_start, hash_generation, hash_training
from evals.checksums import seal
from evals.definitions import hash_plumbing
from evals.files import drop_torn, write_atomic
from evals.fingerprint import fingerprint_model
from evals.harness.asking import complete
from evals.harness.results import read_result
from trainers import Emit
from trainers.backbones import BACKBONES
from trainers.methods import METHODS

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

STAGES = ("waiting", "cold start", "embedded critic", "embedded PRM", "train", "generate", "score", "record")
"""Stages that a trial reports, in this order: ``{"kind": "stage", "stage": one of these, "task": name?}``.

Stages that run task by task also report the task.
"""

COUNTS = (
    *("policy_tokens", "policy_prompt_tokens", "policy_prefill_tokens", "value_tokens"),
    *("critic_tokens", "critic_prompt_tokens"),
    *("critic_cached_tokens", "critic_output_tokens", "critiques", "critiques_reused", "abstained"),
)


def run_trial(trial: Trial, home: Home, emit: Emit, stop: Callable[[], bool], attempt: Attempt) -> bool:
    """Run the remaining stages of a trial.

    Returns:
        True when the trial is done, False when `stop`, called between steps and stages, requested an early end. The
        trial can then be resumed.
    """
    run = _Run(trial, home, emit, stop, attempt, _format_now())
    drop_torn(run.folder.path)
    write_json(run.folder.config, {**trial.as_json(), "definitions": list_definitions(trial.config)})
    return all(stage(run) for stage in _WORK)


@dataclass(frozen=True)
class _Run:
    """One attempt of a trial, shared by its stages."""

    trial: Trial
    home: Home
    emit: Emit
    stop: Callable[[], bool]
    attempt: Attempt
    started: str

    @property
    def folder(self) -> TrialFolder:
        return self.home.trial(self.trial.id)

    @property
    def start(self) -> str:
        """Folder or repository id of the model that training starts from."""
        key = hash_cold_start(self.trial.config)
        if key is not None:
            return str(self.home.stage("cold_start", key))
        return str(BACKBONES.load(self.trial.config.backbone).model)

    @property
    def model(self) -> str:
        """Folder or repository id of the model that is evaluated."""
        return str(self.folder.model) if self.folder.model.exists() else self.start

    def waiting(self) -> None:
        self.emit({"kind": "stage", "stage": "waiting"})


def _train(run: _Run) -> bool:
    """Make the cold start, and train unless a model exists under the key of this training."""
    trial, home, folder = run.trial, run.home, run.folder
    if trial.config.supervised is not None:
        ensure_cold_start(trial, home, run.emit)
    if METHODS.get(trial.config.method).train is None:
        return True
    key = hash_training(trial.identity, trial.seed)
    with claim_stages(home, {"training": key}, run.stop, run.waiting) as held:
        if not held:
            return False
        if take_trained(home, folder, key):
            return True
        if not folder.model.exists() and not train(trial, home, run.start, run.emit, run.stop, run.attempt):
            return False
        settle(folder)
        keep(home, folder, "training", key)
    return True


def _generate(run: _Run) -> bool:
    """Generate the completions that do not exist under their keys."""
    trial, home, folder = run.trial, run.home, run.folder
    pending, listed = list_pending_tasks(trial.config.evaluation, folder), folder.keys()
    keys = {
        f"completions/{task}": hash_generation(trial.identity, task, trial.seed)
        for task in trial.config.evaluation.tasks
        if task in pending or f"completions/{task}" not in listed
    }
    with claim_stages(home, keys, run.stop, run.waiting) as held:
        if not held:
            return False
        weights = cache(lambda: fingerprint_model(Path(run.model)))
        for place, key in keys.items():
            take_answered(home, folder, place, key, weights)
            # scores of fewer completions are outdated
            shutil.rmtree(folder.evaluation / place.partition("/")[2], ignore_errors=True)
        if not ask(trial, run.model, folder, run.emit, run.stop):
            return False
        for place, key in keys.items():
            if complete(folder.path / place):
                keep(home, folder, place, key)
    return True


def _record(run: _Run) -> bool:
    """Write the provenance and the metrics with the cost; the trial is done when the metrics exist."""
    run.emit({"kind": "stage", "stage": "record"})
    folder = run.folder
    write_json(folder.provenance, _collect_provenance(run))
    metrics = encode_json(measure_trial(folder, run.trial.config.evaluation.tasks))
    names = [path.name for path in (folder.config, folder.provenance, folder.stages)]
    seal(folder.path, names, {folder.metrics.name: metrics})
    write_atomic(folder.metrics, metrics)
    return True


_STAGES = ("generate", "score")
"""The timed parts of an evaluation."""

_WORK = (_train, _generate, lambda run: score(run.trial.config.evaluation, run.folder, run.emit, run.stop), _record)


def measure_trial(folder: TrialFolder, tasks: Iterable[str]) -> dict[str, dict[str, float]]:
    """Return the content of ``metrics.json``: metrics of the tasks' results, and costs of training steps and tasks.

    Raises:
        EvaluationError: A task has no result.
    """
    results = [read_result(folder.evaluation / task) for task in tasks]
    metrics = {f"{result.task}/{name}": metric.value for result in results for name, metric in result.metrics.items()}
    evaluated = {
        f"evaluate_{kind}": math.fsum(result.cost[f"{stage}_{kind}"] for result in results for stage in _STAGES)
        for kind in ("seconds", "cpu_seconds")
    }
    return {"metrics": metrics, "cost": _sum_costs(read_steps(folder), evaluated)}


def _sum_costs(steps: Sequence[dict[str, Any]], evaluated: dict[str, float]) -> dict[str, float]:
    spent = {name: steps[-1][name] for name in ("budget_share",) if steps and name in steps[-1]}
    for name in ("total_tokens", "train_flops"):
        if steps and all(name in step for step in steps):
            spent[name] = math.fsum(step[name] for step in steps)
    seconds = {
        f"{stage}_seconds": sum(float(step.get(f"seconds_{stage}", 0.0)) for step in steps)
        for stage in ("generate", "verify", "critique", "update")
    }
    train, worked = (math.fsum(float(step[name]) for step in steps) for name in ("seconds", "cpu_seconds"))
    counts = {name: int(sum(step.get(name, 0) for step in steps)) for name in COUNTS}
    return {
        "wall_seconds": train + evaluated["evaluate_seconds"],
        "train_seconds": train,
        "train_cpu_seconds": worked,
        **evaluated,
        **seconds,
        **counts,
        **spent,
        "steps": len(steps),
        "critic_wait_seconds": sum(float(step.get("critic_wait", 0.0)) for step in steps),
        "critic_money": sum(float(step.get("critic_money", 0.0)) for step in steps),
    }


def _collect_provenance(run: _Run) -> dict[str, Any]:
    trial, folder = run.trial, run.folder
    fingerprints = {
        "start_weights": fingerprint_model(Path(run.start)),
        "final_weights": fingerprint_model(folder.model),
        "benchmark": trial.identity["training"]["benchmark"]["fingerprint"],
        "cold_start": hash_cold_start(trial.config),
    }
    training = read_json(folder.training) if folder.training.exists() else {}
    return {
        **describe_environment(),
        "verifier": trial.identity["scoring"]["verifier"],
        "plumbing": hash_plumbing(),
        "fingerprints": fingerprints,
        "seed": trial.seed,
        "attempt": {"number": run.attempt.number, "micro_batch": training.get("micro_batch")},
        "taught": read_teaching_costs(trial.config, run.home),
        "contamination": encode_overlaps(trial.config),
        "started": run.started,
        "finished": _format_now(),
    }


def _format_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
