"""Models that training loads in addition to the policy: a critic on the same GPUs, or a process reward model.

Embedded models are excluded, because they are too small to matter. Critics that are served on their own GPUs are also
excluded (`find_served_weights`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from capo_bench.study.served import ServedCritic, find_served_by
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.critics.base import CriticParams
from trainers.critics.local import LocalParams, VllmParams, count_parameters
from trainers.methods import METHODS

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes per number, by type."""


@dataclass(frozen=True)
class Beside:
    """A model beside the policy, which each training process loads onto its GPU.

    Attributes:
        weights: Bytes of its weights; None if neither files nor settings give its size.
        share: Share of each GPU's memory that its engine takes, whatever its weights; None without an engine.
    """

    role: Literal["critic", "PRM"]
    model: str
    revision: str | None
    weights: int | None
    share: float | None = None

    def held(self, gpu: float) -> float | None:
        """Return the bytes that the model takes of a GPU with `gpu` bytes; None if unknown."""
        return self.weights if self.share is None else self.share * gpu


def list_models_beside(config: TrialConfig) -> list[Beside]:
    """Return the models that a trial with these settings loads beside the policy."""
    uses, prm = METHODS.get(config.method).uses, config.prm
    models = list(_list_critics(config)) if "critic" in uses else []
    if "prm" in uses and prm.taught is None:
        count = count_model_parameters(prm.model, prm.revision) or prm.parameters
        models.append(Beside("PRM", prm.model, prm.revision, _count_bytes(count, prm.dtype)))
    return models


def _list_critics(config: TrialConfig) -> Iterator[Beside]:
    critic, backbone = config.critic, BACKBONES.load(config.backbone)
    served = find_served_by(critic)
    if served is not None and served.embedded is None and served.serve.gpus == 0:
        yield replace(find_served_weights(critic, served), share=served.serve.gpu_memory_utilization)
    if not isinstance(critic, LocalParams) or critic.embedded_critic is not None:
        return
    share = critic.gpu_memory_utilization if isinstance(critic, VllmParams) else None
    if not critic.asks_policy:
        count = count_model_parameters(critic.model, critic.revision) or critic.parameters
        yield Beside("critic", critic.model, critic.revision, _count_bytes(count, critic.dtype), share)
    elif backbone.model is not None:
        count = backbone.planned.parameters if backbone.planned else None
        yield Beside("critic", backbone.model, backbone.revision, _count_bytes(count, critic.dtype), share)


def find_served_weights(critic: CriticParams, served: ServedCritic) -> Beside:
    """Return the model that a critic's server loads."""
    serve = served.serve
    count = count_model_parameters(served.model, serve.revision) or getattr(critic, "parameters", None)
    # vLLM chooses a type with two bytes.
    dtype = "bfloat16" if serve.dtype == "auto" else serve.dtype
    return Beside("critic", served.model, serve.revision, _count_bytes(count, dtype))


def count_model_parameters(model: str, revision: str | None) -> int | None:
    """Return the number of parameters, from files in a folder or the hub's cache; None if there are no such files."""
    folder = Path(model) if Path(model).is_dir() else _find_cached(model, revision)
    return count_parameters(folder) if folder is not None and _is_complete(folder) else None


def _find_cached(model: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _is_complete(folder: Path) -> bool:
    """Return whether a folder contains all weight files that its index lists."""
    index = folder / "model.safetensors.index.json"
    named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values() if index.exists() else ()
    return all((folder / name).exists() for name in {*named})


def _count_bytes(count: float | None, dtype: str) -> int | None:
    return None if count is None else int(count) * BYTES[dtype]
