"""The identity of a trial: the parts that determine its result, by stage, and the id, which is their hash.

``training``
    Method, backbone, benchmark with the fingerprint of its data, cold start, the sections that the method uses, the
    embedded critic or process reward model if the method uses it, the version of the verifier, the code of the parts,
    and the versions of the packages that compute. For a method without training: everything that determines the start.
``generation``
    How the model is sampled, and the settings, functions and data of every task. `batch_size` is included, and
    `train.micro_batch` is in the training part: they change the order of sums and the padding, and with that exact
    results. Trials with the same id have bit-identical results wherever this project promises it.
``scoring``
    The version of the verifier, the segmenter, and their code.

A stage is determined by its own part, the earlier parts and the seed. Two trials whose parts are equal up to a stage
share the result of that stage: one of them computes it and the other reuses it.

Code means definitions (`evals.definitions`): each part that the settings name, with everything that it reaches. Code
that only moves results counts by the version of its stage (`evals.plumbing`). A model in a folder is identified by its
content.

The identity excludes names, the order in the file, paths, other variants, workers, tracking, the order of stages, and
sections that the method ignores.
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
    find_embedded_judges,
    hash_roots,
    judge_roots,
    list_cold_start_roots,
    list_generation_roots,
    list_scoring_roots,
    list_training_roots,
)
from evals.benchmarks import BENCHMARKS
from evals.config import EvaluationConfig
from evals.fingerprint import ModelFolderError, identify_folder
from evals.plumbing import STAGES
from evals.tasks.identity import identify_task
from evals.tasks.named import find_benchmark, find_demonstrations
from evals.tasks.row_sets import NAMED
from evals.tasks.row_settings import ProblemRows
from evals.tasks.training_sets import load_named_problems
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
"""The parts of an identity, in the order of the stages that they determine; version and seed are separate."""
FOLDER = "(a folder)"
"""Replaces the name of a model that is in a folder."""

SharedKind = Literal["cold_start", "critic", "prm"]
SHARED_TITLES: dict[SharedKind, str] = {"cold_start": "cold start", "critic": "embedded critic", "prm": "embedded PRM"}

Identity = dict[str, Any]


def identify_trial(config: TrialConfig) -> Identity:
    """Return everything except the seed that determines the result of a trial with these settings."""
    parts = {
        "training": _identify_training(config),
        "generation": _identify_generation(config),
        "scoring": _identify_scoring(config),
    }
    return {"version": VERSION, **{part: {**parts[part], "stage": STAGES[part].version} for part in PARTS}}


def hash_training(identity: Mapping[str, Any], seed: int) -> str:
    """Return the hash of everything that determines the model that a trial evaluates."""
    return hash_plain(["training", identity["version"], identity["training"], seed])


def hash_generation(identity: Mapping[str, Any], task: str, seed: int) -> str:
    """Return the hash of everything that determines the completions of one task of a trial.

    Raises:
        KeyError: The trial has no such task.
    """
    asked = {**identity["generation"], "tasks": {task: identity["generation"]["tasks"][task]}}
    return hash_plain(["generation", hash_training(identity, seed), asked])


def hash_stages(identity: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Return the hash of the inputs of each of a trial's own stages, by the stage's place in the trial's folder."""
    tasks = identity["generation"]["tasks"]
    asked = {f"completions/{task}": hash_generation(identity, task, seed) for task in tasks}
    return {"training": hash_training(identity, seed), **asked}


def add_seed(identity: Identity, seed: int) -> Identity:
    """Return the identity of a variant's trial with this seed."""
    return {**identity, "seed": seed}


def hash_plain(parts: object) -> str:
    """Return the hash of plain data: 12 hex digits, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_trial_id(variant_digest: str, seed: int) -> str:
    """Return the id of a trial from its seed and the `digest` of its variant's identity, which all seeds share."""
    return hash_plain([VERSION, variant_digest, seed])


@dataclass(frozen=True)
class SharedModel:
    """A model that trials share: it is trained once, before them, and stored under the hash of its inputs."""

    kind: SharedKind
    key: str


def list_shared_models(config: TrialConfig) -> list[SharedModel]:
    """Return the shared models that a trial with these settings needs."""
    start = hash_cold_start(config)
    cold_start = [] if start is None else [SharedModel("cold_start", start)]
    return cold_start + [SharedModel(judge_kind(judge), judge_key(judge)) for judge in find_embedded_judges(config)]


def judge_kind(judge: Judge) -> Literal["critic", "prm"]:
    """Return the kind of shared model of an embedded judge."""
    return "critic" if isinstance(judge, EmbeddedCriticConfig) else "prm"


@cache
def judge_key(judge: Judge) -> str:
    """Return the hash of everything that determines an embedded critic or process reward model."""
    parts = {
        "version": VERSION,
        judge_kind(judge): judge.model_dump(mode="json"),
        "benchmark": _identify_benchmark(TAUGHT_ON),
        "code": hash_roots(judge_roots(judge)),
        "packages": _read_versions(),
    }
    return hash_plain(parts)


def hash_cold_start(config: TrialConfig) -> str | None:
    """Return the hash of everything that determines the cold start; None without a cold start."""
    if config.supervised is None:
        return None
    parts = {
        "version": VERSION,
        "cold_start": _identify_supervised(config.supervised),
        "backbone": _identify_backbone(config.backbone),
        # Named demonstrations do not depend on a benchmark.
        **(
            {"benchmark": _identify_benchmark(config.supervised.task)}
            if isinstance(config.supervised, ColdStartConfig)
            else {}
        ),
        "code": hash_roots(list_cold_start_roots(config.supervised)),
        "packages": _read_versions(),
    }
    return hash_plain(parts)


def identify_critic(params: CriticParams) -> Identity:
    """Return what determines a critic's critiques: its settings, and the content of its model unless a name pins it.

    For the policy as critic, only that fact is included: the model that training starts from is a separate part of a
    trial's identity.
    """
    settings = params.identity()
    if params.asks_policy:
        return settings
    if params.embedded_critic is not None:
        return {**settings, "embedded": judge_key(params.embedded_critic)}
    return _identify_by_content("critic", settings)


def _identify_prm(config: TrialConfig) -> dict[str, Any]:
    """Return what determines the scores of steps and their use, without settings that the method ignores."""
    params, method = config.prm, METHODS.get(config.method)
    settings = {name: value for name, value in params.identity().items() if method.heeds(f"prm.{name}")}
    return (
        {**settings, "embedded": judge_key(params.taught)} if params.taught else _identify_by_content("prm", settings)
    )


def _identify_training(config: TrialConfig) -> dict[str, Any]:
    method, start = METHODS.get(config.method), config.supervised
    dumped = config.model_dump(mode="json", include=set(method.uses & {"train", "credit", "values"}))
    sections = {
        name: {key: value for key, value in section.items() if method.heeds(f"{name}.{key}")}
        for name, section in dumped.items()
    }
    # A method without a critic segments rollouts only to count and check their steps, as the evaluation does.
    own_cuts = method.uses & {"credit", "prm"}
    cuts = {"segmenter": config.evaluation.segmenter} if method.train and not own_cuts else {}
    return {
        "method": config.method,
        "backbone": _identify_backbone(config.backbone),
        "benchmark": _identify_benchmark(config.benchmark),
        "cold_start": start and {"key": hash_cold_start(config), **_identify_supervised(start)},
        **sections,
        **({"critic": identify_critic(config.critic)} if "critic" in method.uses else {}),
        **_identify_weight(config),
        **({"prm": _identify_prm(config)} if "prm" in method.uses else {}),
        **cuts,
        **({"verifier": VERIFIER_VERSION} if method.train else {}),
        "code": hash_roots(list_training_roots(config)),
        "packages": _read_versions(),
    }


def _identify_weight(config: TrialConfig) -> dict[str, Any]:
    """Return the critic's size in the settings, if a budget weighs its tokens by it."""
    method, budget = METHODS.get(config.method), config.train.budget
    if "critic" not in method.uses or budget is None or budget.unit not in WEIGHED:
        return {}
    return {"critic_parameters": getattr(config.critic, "parameters", None)}


def _identify_generation(config: TrialConfig) -> dict[str, Any]:
    """Return what determines the completions; local data is identified by its content, not by its path."""
    settings = config.evaluation
    return {
        **settings.model_dump(mode="json", exclude={"tasks", "data_dir", "segmenter", "rows"}),
        "tasks": {name: _identify_task(name, settings) for name in settings.tasks},
        "lm_eval": _read_version("lm_eval"),
        "code": hash_roots(list_generation_roots(config)),
    }


def _identify_scoring(config: TrialConfig) -> dict[str, Any]:
    return {
        "segmenter": config.evaluation.segmenter,
        "verifier": VERIFIER_VERSION,
        "code": hash_roots(list_scoring_roots(config)),
    }


def _identify_by_content(role: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the model's content in place of its name if the model is a folder.

    Raises:
        PartError: The content cannot be read.
    """
    model = settings.get("model")
    if not isinstance(model, str) or not Path(model).is_dir():
        return settings  # a repository is named with its revision
    try:
        return {**settings, "model": FOLDER, "content": identify_folder(Path(model))}
    except ModelFolderError as error:
        raise PartError(role, error.rule, error.way_out) from error


def _identify_supervised(settings: ColdStartConfig | SftConfig) -> dict[str, Any]:
    """Return what determines a supervised training; demonstrations are identified by content, not by path."""
    if isinstance(settings, ColdStartConfig):
        return settings.model_dump(mode="json")
    named = settings.demonstrations
    shown = {
        "name": named if isinstance(named, str) else NAMED,
        "fingerprint": find_demonstrations(named).fingerprint(),
    }
    return {**settings.model_dump(mode="json", exclude={"demonstrations"}), "demonstrations": shown}


@cache
def _identify_backbone(name: str) -> dict[str, Any]:
    settings = BACKBONES.load(name).model_dump(mode="json", exclude={"planned"})
    return {"name": name, **_identify_by_content("backbone", settings)}


def _identify_benchmark(named: str | ProblemRows) -> dict[str, Any]:
    if isinstance(named, str):
        return _identify_registered(named)
    return {"name": NAMED, "fingerprint": find_benchmark(named).fingerprint()}


@cache
def _identify_registered(name: str) -> dict[str, Any]:
    return {"name": name, "fingerprint": BENCHMARKS.get(name).fingerprint()}


def _identify_task(name: str, settings: EvaluationConfig) -> dict[str, Any]:
    task = _identify_shipped_task(name, settings.data_dir)
    own = settings.rows.get(name)
    return task if own is None else {**task, "data": load_named_problems(own).fingerprint()}


@cache
def _identify_shipped_task(name: str, data_dir: str | None) -> dict[str, Any]:
    return identify_task(name, None if data_dir is None else Path(data_dir))


@cache
def _read_version(package: str) -> str:
    return importlib.metadata.version(package)


@cache
def _read_versions() -> dict[str, str]:
    versions = {name: _read_version(name) for name in PACKAGES}
    return {"python": f"{sys.version_info.major}.{sys.version_info.minor}", **versions}
