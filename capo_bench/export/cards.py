"""Write the cards of a trial's policy and samples: origin, measurements, intended use."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from capo_bench.store.home import TrialFolder, read_json

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from capo_bench.study.plan import Trial

CAUTION = (
    "Trained for research on credit assignment, on few problems and with few seeds: a single trial says little, and a "
    "difference between two of them may be seed noise. It is not meant to be used for anything else."
)


@dataclass(frozen=True)
class FinishedTrial:
    """The data of a finished trial for its cards; `base` is its backbone's repository, None for an embedded one."""

    trial: Trial
    metrics: dict[str, float]
    cost: dict[str, float]
    provenance: dict[str, Any]
    base: str | None


def read_left(folder: TrialFolder) -> FinishedTrial:
    """Read the data of a finished trial.

    Raises:
        OSError, ValueError, KeyError: A file is missing or damaged.
    """
    from capo_bench.study.plan import Trial
    from trainers.backbones import BACKBONES

    trial, result = Trial.from_json(read_json(folder.config)), read_json(folder.metrics)
    backbone = BACKBONES.load(trial.config.backbone)
    provenance = read_json(folder.provenance) if folder.provenance.exists() else {}
    return FinishedTrial(trial, result["metrics"], result["cost"], provenance, backbone.model)


def write_model_card(left: FinishedTrial) -> str:
    """Return the card of a trial's policy: the hub's metadata, then Markdown with the measured results."""
    from huggingface_hub import ModelCardData

    trial = left.trial
    name = f"{trial.variant}, seed {trial.seed}"
    data = ModelCardData(
        base_model=left.base,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["capo-bench", "reinforcement-learning", trial.config.method],
        model_name=f"capo-bench {name}",
        eval_results=_build_results(left) or None,
    )
    rows = [f"| {key} | {value:.4g} |" for key, value in sorted(left.metrics.items()) if _is_finite(value)]
    return _build_card(
        data.to_yaml(),
        f"# {_escape(name)}",
        f"A policy trained with `{trial.config.method}` on `{trial.config.benchmark}`, from "
        f"{f'[{left.base}](https://huggingface.co/{left.base})' if left.base else 'an embedded tiny model'}, by "
        f"capo-bench. Trial `{trial.id}`.",
        CAUTION,
        "## Results\n\n| metric | value |\n|---|---:|\n" + "\n".join(rows),
        _describe_cost(left),
        _describe_origin(left),
    )


def write_dataset_card(left: FinishedTrial, files: dict[str, str], rows: dict[str, int]) -> str:
    """Return the card of a trial's samples; `files` are file patterns and `rows` numbers of rows, by part."""
    trial = left.trial
    parts = [{"config_name": name, "data_files": pattern} for name, pattern in files.items()]
    size = next(word for most, word in _SIZES if sum(rows.values()) < most)
    data = yaml.safe_dump(
        {"tags": ["capo-bench", "rollouts"], "size_categories": [size], "configs": parts}, sort_keys=False
    ).strip()
    listed = [f"| `{name}` | {rows[name]:,} | {_WHAT[name.partition('_')[0]]} |" for name in files]
    name = f"{trial.variant}, seed {trial.seed}"
    return _build_card(
        data,
        f"# What {_escape(name)} sampled",
        f"Rollouts of the training, with critiques and the checker's verdicts on steps, and scored samples of the "
        f"evaluation, of trial `{trial.id}` of capo-bench.",
        "Texts were written by a model and are not corrected: many are wrong, and none was read by a person.",
        "## Parts\n\n| part | rows | what a row is |\n|---|---:|---|\n" + "\n".join(listed),
        _describe_origin(left),
    )


_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"), (math.inf, "n>1M"))
_WHAT = {
    "rollouts": "a rollout: problem, steps, outcome, which steps are wrong (`truth`, from 0), critiques",
    "samples": "an answer of the evaluation: completion, verdict, wrong steps",
}


def _build_results(left: FinishedTrial) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    return [
        EvalResult("text-generation", task, task, "accuracy", float(value), metric_name=f"{task}/{metric}")
        for key, value in left.metrics.items()
        for task, _, metric in [key.partition("/")]
        if metric == "accuracy" and _is_finite(value)
    ]


def _describe_cost(left: FinishedTrial) -> str:
    named = {
        "train_seconds": "seconds of training",
        "policy_tokens": "tokens that the policy wrote",
        "value_tokens": "tokens of continuations that the policy read and wrote for Monte Carlo values",
        "critic_tokens": "tokens that the critic read and wrote",
        "train_flops": "floating-point operations",
    }
    lines = [f"- {text}: {left.cost[key]:,.4g}" for key, text in named.items() if _is_finite(left.cost.get(key))]
    return "## Cost\n\n" + "\n".join(lines)


def _describe_origin(left: FinishedTrial) -> str:
    settings = yaml.safe_dump(left.trial.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    git = left.provenance.get("git") or {}
    packages = left.provenance.get("packages") or {}
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers", "trl") if packages.get(name))
    commit = f"commit `{git['commit']}`" if git.get("commit") else "an installed package"
    return f"## How it was made\n\nseed {left.trial.seed}; {commit}; {versions}\n\n```yaml\n{settings}```"


def _build_card(data: str, *parts: str) -> str:
    return "---\n" + data + "\n---\n\n" + "\n\n".join(parts) + "\n"


def _escape(name: str) -> str:
    """Return a name that Markdown displays literally."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|~&" else c for c in name if c.isprintable())


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
