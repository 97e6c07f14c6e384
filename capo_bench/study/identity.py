"""What a trial is: the parts that decide its result, stage by stage, and the id that is a hash of them.

``training``
    Method, backbone, benchmark and the fingerprint of its data, cold start, the sections that the method uses, the
    embedded critic or process reward model where it is asked, the verifier's version, the code of the parts used, the
    versions of the packages that compute. For a method that does not train: what decides the start.
``generation``
    How the model is asked, and every task by its settings, functions and data. `batch_size` is in it, as
    `train.micro_batch` is in the training: they change the order of sums and padding, and with them bits, and a trial
    of one id reruns to the same bits where we promise that.
``scoring``
    The verifier's version, the segmenter, their code.

A stage is decided by its own part, those before it and the seed. Two trials whose parts up to a stage are equal share
its result: one does the work, the other takes it over.

Code is that of definitions (`evals.definitions`): of each part that the settings name, with all that it reaches. What
only carries results counts by its stage's version (`evals.plumbing`). A model in a folder is known by its content.

Not in it: names, order in the file, paths, other variants, workers, tracking, how stages follow one another, and the
sections that a method ignores.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from capo_bench.study.code import (
    Judge,
    PartError,
    cold_start_roots,
    embedded_judges,
    generation_roots,
    hashes,
    judge_roots,
    scoring_roots,
    training_roots,
)
from evals.benchmarks import BENCHMARKS
from evals.config import EvaluationConfig
from evals.fingerprint import ModelFolderError, folder_identity
from evals.plumbing import STAGES
from evals.tasks.identity import task_identity
from evals.tasks.named import benchmark_of, demonstrations_of
from evals.tasks.row_sets import NAMED
from evals.tasks.row_settings import ProblemRows
from evals.tasks.training_sets import named_problems
from evals.verify import VERIFIER_VERSION
from trainers.backbones import BACKBONES
from trainers.budget import WEIGHED
from trainers.config import ColdStartConfig, TrialConfig
from trainers.critics.base import CriticParams, EmbeddedCriticConfig
from trainers.methods import METHODS
from trainers.prm.config import TAUGHT_ON
from trainers.teaching import SftConfig

VERSION = 2
PACKAGES = ("torch", "transformers", "trl", "math-verify")
PARTS = ("training", "generation", "scoring")
"""The parts of an identity, beside its version and seed, in the order of the stages that they decide."""
FOLDER = "(a folder)"
"""In place of the name of a model that lies in a folder."""

SharedKind = Literal["cold_start", "critic", "prm"]
SHARED_TITLES: dict[SharedKind, str] = {"cold_start": "cold start", "critic": "embedded critic", "prm": "embedded PRM"}

Identity = dict[str, Any]


def identity_of(config: TrialConfig) -> Identity:
    """Return everything but the seed that decides the result of a trial with these settings."""
    parts = {"training": _training(config), "generation": _generation(config), "scoring": _scoring(config)}
    return {"version": VERSION, **{part: {**parts[part], "stage": STAGES[part].version} for part in PARTS}}


def training_key(identity: Mapping[str, Any], seed: int) -> str:
    """Return the content hash of what decides the model that a trial measures."""
    return digest(["training", identity["version"], identity["training"], seed])


def generation_key(identity: Mapping[str, Any], task: str, seed: int) -> str:
    """Return the content hash of what decides the completions of one task of a trial.

    Raises:
        KeyError: The trial has no such task.
    """
    asked = {**identity["generation"], "tasks": {task: identity["generation"]["tasks"][task]}}
    return digest(["generation", training_key(identity, seed), asked])


def stage_keys(identity: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Return the content hash of what each of a trial's own stages leaves, by its place in the trial's folder."""
    tasks = identity["generation"]["tasks"]
    asked = {f"completions/{task}": generation_key(identity, task, seed) for task in tasks}
    return {"training": training_key(identity, seed), **asked}


def with_seed(identity: Identity, seed: int) -> Identity:
    """Return a variant's identity as that of its trial under one seed."""
    return {**identity, "seed": seed}


def digest(parts: object) -> str:
    """Return the content hash of plain data: 12 hex digits, whatever the order of keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def trial_id(variant_digest: str, seed: int) -> str:
    """Return the id of a trial, from the `digest` of its variant's identity, which its seeds share, and its seed."""
    return digest([VERSION, variant_digest, seed])


@dataclass(frozen=True)
class SharedModel:
    """A model that trials share: trained once, before them, and kept under the hash of what decides it."""

    kind: SharedKind
    key: str


def shared_models(config: TrialConfig) -> list[SharedModel]:
    """Return the models that a trial with these settings needs made before it."""
    start = cold_start_key(config)
    cold_start = [] if start is None else [SharedModel("cold_start", start)]
    return cold_start + [SharedModel(judge_kind(judge), judge_key(judge)) for judge in embedded_judges(config)]


def judge_kind(judge: Judge) -> Literal["critic", "prm"]:
    """Return which kind of shared model an embedded judge is."""
    return "critic" if isinstance(judge, EmbeddedCriticConfig) else "prm"


@cache
def judge_key(judge: Judge) -> str:
    """Return the content hash of what decides an embedded critic or process reward model."""
    parts = {
        "version": VERSION,
        judge_kind(judge): judge.model_dump(mode="json"),
        "benchmark": _benchmark(TAUGHT_ON),
        "code": hashes(judge_roots(judge)),
        "packages": _packages(),
    }
    return digest(parts)


def cold_start_key(config: TrialConfig) -> str | None:
    """Return the content hash of what decides the cold start; None if there is none."""
    if config.supervised is None:
        return None
    parts = {
        "version": VERSION,
        "cold_start": _supervised(config.supervised),
        "backbone": _backbone(config.backbone),
        # Demonstrations that are named rest on no benchmark.
        **({"benchmark": _benchmark(config.supervised.task)} if isinstance(config.supervised, ColdStartConfig) else {}),
        "code": hashes(cold_start_roots(config.supervised)),
        "packages": _packages(),
    }
    return digest(parts)


def critic_identity(params: CriticParams) -> Identity:
    """Return what decides a critic's critiques: its settings, and its model by content where no name pins that.

    Of the policy as critic only that it is asked: what training starts from stands beside it in a trial's identity.
    """
    settings = params.identity()
    if params.asks_policy:
        return settings
    if params.embedded_critic is not None:
        return {**settings, "embedded": judge_key(params.embedded_critic)}
    return _by_content("critic", settings)


def _prm(config: TrialConfig) -> dict[str, Any]:
    """Return what decides the scores of steps and what is made of them, without what the method ignores."""
    params, method = config.prm, METHODS.get(config.method)
    settings = {name: value for name, value in params.identity().items() if method.heeds(f"prm.{name}")}
    return {**settings, "embedded": judge_key(params.taught)} if params.taught else _by_content("prm", settings)


def _training(config: TrialConfig) -> dict[str, Any]:
    method, start = METHODS.get(config.method), config.supervised
    dumped = config.model_dump(mode="json", include=set(method.uses & {"train", "credit", "values"}))
    sections = {
        name: {key: value for key, value in section.items() if method.heeds(f"{name}.{key}")}
        for name, section in dumped.items()
    }
    # A method without a critic cuts rollouts only to count and check their steps, as the evaluation does.
    own_cuts = method.uses & {"credit", "prm"}
    cuts = {"segmenter": config.evaluation.segmenter} if method.train and not own_cuts else {}
    return {
        "method": config.method,
        "backbone": _backbone(config.backbone),
        "benchmark": _benchmark(config.benchmark),
        "cold_start": start and {"key": cold_start_key(config), **_supervised(start)},
        **sections,
        **({"critic": critic_identity(config.critic)} if "critic" in method.uses else {}),
        **_weighed(config),
        **({"prm": _prm(config)} if "prm" in method.uses else {}),
        **cuts,
        **({"verifier": VERIFIER_VERSION} if method.train else {}),
        "code": hashes(training_roots(config)),
        "packages": _packages(),
    }


def _weighed(config: TrialConfig) -> dict[str, Any]:
    """Return the size that the settings give a critic where a budget weighs its tokens by it."""
    method, budget = METHODS.get(config.method), config.train.budget
    if "critic" not in method.uses or budget is None or budget.unit not in WEIGHED:
        return {}
    return {"critic_parameters": getattr(config.critic, "parameters", None)}


def _generation(config: TrialConfig) -> dict[str, Any]:
    """Return what decides the completions; local data is known by its content, not by its place."""
    settings = config.evaluation
    return {
        **settings.model_dump(mode="json", exclude={"tasks", "data_dir", "segmenter", "rows"}),
        "tasks": {name: _task(name, settings) for name in settings.tasks},
        "lm_eval": _version("lm_eval"),
        "code": hashes(generation_roots(config)),
    }


def _scoring(config: TrialConfig) -> dict[str, Any]:
    return {
        "segmenter": config.evaluation.segmenter,
        "verifier": VERIFIER_VERSION,
        "code": hashes(scoring_roots(config)),
    }


def _by_content(role: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the content of their model in place of its name, where that is a folder.

    Raises:
        PartError: It cannot be known by its content.
    """
    model = settings.get("model")
    if not isinstance(model, str) or not Path(model).is_dir():
        return settings  # a repository is named with its revision
    try:
        return {**settings, "model": FOLDER, "content": folder_identity(Path(model))}
    except ModelFolderError as error:
        raise PartError(role, error.rule, error.way_out) from error


def _supervised(settings: ColdStartConfig | SftConfig) -> dict[str, Any]:
    """Return what decides a supervised training; demonstrations are known by their content, not by their place."""
    if isinstance(settings, ColdStartConfig):
        return settings.model_dump(mode="json")
    named = settings.demonstrations
    shown = {
        "name": named if isinstance(named, str) else NAMED,
        "fingerprint": demonstrations_of(named).fingerprint(),
    }
    return {**settings.model_dump(mode="json", exclude={"demonstrations"}), "demonstrations": shown}


@cache
def _backbone(name: str) -> dict[str, Any]:
    settings = BACKBONES.load(name).model_dump(mode="json", exclude={"planned"})
    return {"name": name, **_by_content("backbone", settings)}


def _benchmark(named: str | ProblemRows) -> dict[str, Any]:
    if isinstance(named, str):
        return _registered(named)
    return {"name": NAMED, "fingerprint": benchmark_of(named).fingerprint()}


@cache
def _registered(name: str) -> dict[str, Any]:
    return {"name": name, "fingerprint": BENCHMARKS.get(name).fingerprint()}


def _task(name: str, settings: EvaluationConfig) -> dict[str, Any]:
    task = _task_of(name, settings.data_dir)
    own = settings.rows.get(name)
    return task if own is None else {**task, "data": named_problems(own).fingerprint()}


@cache
def _task_of(name: str, data_dir: str | None) -> dict[str, Any]:
    return task_identity(name, None if data_dir is None else Path(data_dir))


@cache
def _version(package: str) -> str:
    return importlib.metadata.version(package)


@cache
def _packages() -> dict[str, str]:
    versions = {name: _version(name) for name in PACKAGES}
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **versions}
