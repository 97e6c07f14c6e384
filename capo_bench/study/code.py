"""The definitions of code that determine each stage of a trial; `evals.definitions` finds what they depend on.

Each part that the settings name is a separate root, so a trial does not depend on parts that it does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from evals.benchmarks import BENCHMARKS
from evals.definitions import DefinitionError, find_closure
from evals.models.open import BACKENDS
from evals.tasks.identity import find_task_checker
from evals.tasks.row_settings import DEMONSTRATIONS
from trainers.config import ColdStart, ColdStartConfig, TrialConfig
from trainers.credit.normalization import NORMALIZATIONS
from trainers.credit.segment import SEGMENTERS
from trainers.credit.votes import VOTES
from trainers.critics import CRITICS
from trainers.critics.base import EmbeddedCriticConfig
from trainers.methods import METHODS
from trainers.prm.config import EmbeddedPrmConfig

Roots = dict[str, str]
"""Role of a definition in a trial, and the definition as ``"package.module:name"``."""

Judge = EmbeddedCriticConfig | EmbeddedPrmConfig
"""An embedded critic or process reward model."""

_NAMED = "evals.tasks.training_sets:load_named_problems"
_NAMED_DEMONSTRATIONS = "evals.tasks.demonstrations:load_named_demonstrations"
_VERIFIER: Roots = {"verifier": "evals.verify.verifier:Verifier", "verifier's worker": "evals.verify.worker:main"}
_MEASURED = (
    *("accuracy", "known_right", "accuracy_norm", "wrong_step_rate", "flawed_right"),
    *("steps", "tokens", "no_answer", "truncated"),
    *("unscored", "failed", "averaged", "passed", "voted", "_count_decoding", "compute_ratio"),
)
"""Metrics since the current identity version, and the functions that aggregate them.

Metrics that are added later are not listed here, so they do not change the ids of trials.
"""


class PartError(DefinitionError):
    """A part of a trial that cannot be identified: the source of its code, or its model folder, cannot be read.

    `key` is the path of the setting that names the part.
    """

    def __init__(self, role: str, rule: str, way_out: str) -> None:
        super().__init__(f"{role} {rule}", way_out)
        self.key = _KEYS.get(role, ("method",))


_KEYS = {
    "backbone": ("backbone",),
    "benchmark": ("benchmark",),
    "critic": ("critic",),
    "normalization": ("credit", "normalization"),
    "prm": ("prm",),
    "segmenter": ("credit", "segmenter"),
    "vote": ("credit", "vote"),
}


def import_parts(config: TrialConfig) -> None:
    """Import the parts that settings name, as a run does, to find parts that fail at import before a run starts.

    Raises:
        BrokenPartError: A part cannot be imported.
    """
    METHODS.get(config.method)
    CRITICS.get(config.critic.name)
    VOTES.get(config.credit.vote)
    NORMALIZATIONS.get(config.credit.normalization)
    for name in {config.credit.segmenter, config.evaluation.segmenter, config.prm.segmenter}:
        SEGMENTERS.get(name)
    if isinstance(config.benchmark, str):
        BENCHMARKS.get(config.benchmark)


def list_cold_start_roots(settings: ColdStart) -> Roots:
    """Return the definitions that determine a supervised model: its training, and the reader of its demonstrations."""
    if isinstance(settings, ColdStartConfig):
        drawn = {"cold start": "trainers.cold_start:train_drawn"}
        return drawn if settings.task == "coins" else {**drawn, "lessons": BENCHMARKS.target(settings.task)}
    named = settings.demonstrations
    read = DEMONSTRATIONS.target(named) if isinstance(named, str) else _NAMED_DEMONSTRATIONS
    return {"cold start": "trainers.cold_start:train_named", "demonstrations": read}


def list_training_roots(config: TrialConfig) -> Roots:
    """Return the definitions that determine a trained model; for a method without training, only those of the problems.

    The definitions of the cold start are not included.
    """
    method = METHODS.get(config.method)
    named = config.benchmark
    roots = {"benchmark": BENCHMARKS.target(named) if isinstance(named, str) else _NAMED}
    if method.train is None:
        return roots
    roots |= {"method": method.train, **_VERIFIER, "segmenter": SEGMENTERS.target(_choose_segmenter(config))}
    if "credit" in method.uses:
        roots["normalization"] = NORMALIZATIONS.target(config.credit.normalization)
        roots |= {"vote": VOTES.target(config.credit.vote)} if method.heeds("credit.vote") else {}
    if "critic" in method.uses:
        roots["critic"] = CRITICS.target(config.critic.name)
        roots |= {"critic's model": BACKENDS[config.critic.backend]} if config.critic.backend else {}
    if method.credit is not None:
        roots["credit"] = method.credit
    return roots


def list_generation_roots(config: TrialConfig) -> Roots:
    """Return the definitions that determine the completions of a model, except the functions of each task."""
    return {
        "asking": "evals.harness.generate:generate",
        "task settings": "evals.harness.asking:apply_settings",
        "tasks": "evals.harness.tasks:load_tasks",
        "backend": BACKENDS[config.evaluation.backend],
    }


def list_scoring_roots(config: TrialConfig) -> Roots:
    """Return the definitions that determine the scores of completions."""
    checkers = {checker for name in config.evaluation.tasks if (checker := find_task_checker(name))}
    return {
        **_VERIFIER,
        "verdicts": "evals.harness.score:judge",
        "choices": "evals.harness.score:choose_option",
        "steps": "trainers.credit.segment:list_step_texts",
        "segmenter": SEGMENTERS.target(config.evaluation.segmenter),
        **{f"metric {name}": f"evals.metrics:{name}" for name in _MEASURED},
        **{f"checker {name}": BENCHMARKS.target(name) for name in sorted(checkers)},
    }


def hash_roots(roots: Mapping[str, str]) -> dict[str, str]:
    """Return the hash of each root together with all definitions that it reaches.

    Raises:
        PartError: The source code of a root cannot be read.
    """
    by_role = {}
    for role, target in roots.items():
        try:
            by_role[role] = find_closure(target).hash
        except DefinitionError as error:
            raise PartError(role, error.rule, error.way_out) from error
    return by_role


def list_definitions(config: TrialConfig) -> dict[str, dict[str, str]]:
    """Return each definition that determines a trial, by stage, with its own hash, for comparison by people."""
    shared = list_cold_start_roots(config.supervised) if config.supervised else {}
    for judge in find_embedded_judges(config):
        shared |= judge_roots(judge)
    stages = {
        "shared": shared,
        "training": list_training_roots(config),
        "generation": list_generation_roots(config),
        "scoring": list_scoring_roots(config),
    }
    return {stage: _merge_definitions(tuple(sorted({*roots.values()}))) for stage, roots in stages.items()}


def find_embedded_judges(config: TrialConfig) -> list[Judge]:
    """Return the embedded critic or process reward model that the method uses."""
    uses = METHODS.get(config.method).uses
    used = (config.critic.embedded_critic if "critic" in uses else None, config.prm.taught if "prm" in uses else None)
    return [judge for judge in used if judge is not None]


def judge_roots(judge: Judge) -> Roots:
    """Return the definitions that determine an embedded critic or process reward model."""
    if isinstance(judge, EmbeddedCriticConfig):
        return {"embedded critic": "trainers.critics.embedded:train_critic"}
    return {"embedded PRM": "trainers.prm.embedded:train_prm"}


def _choose_segmenter(config: TrialConfig) -> str:
    """Return the name of the segmenter of rollouts, which depends on whether the method uses a critic or a PRM.

    Other methods segment rollouts only to count and check their steps.
    """
    uses = METHODS.get(config.method).uses
    if "credit" in uses:
        return config.credit.segmenter
    return config.prm.segmenter if "prm" in uses else config.evaluation.segmenter


@cache
def _merge_definitions(targets: tuple[str, ...]) -> dict[str, str]:
    return {name: own for target in targets for name, own in find_closure(target).definitions.items()}
