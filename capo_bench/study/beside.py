"""Models that training has beside the policy: a critic's on the same GPUs, or a process reward model.

The embedded ones are not among them: they are made here, and too small to weigh on a machine. Nor are critics that are
served on GPUs of their own (`served_weights`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from capo_bench.study.served import ServedCritic, served_by
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.critics.base import CriticParams
from trainers.critics.local import LocalParams, VllmParams, parameters_in
from trainers.methods import METHODS

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of a number, by its type."""


@dataclass(frozen=True)
class Beside:
    """A model beside the policy, which each process that trains loads onto its GPU.

    `weights` are bytes; None where neither files nor settings say how large it is. `share` is that of each GPU's memory
    that its engine takes, whatever its weights; None without an engine.
    """

    role: Literal["critic", "PRM"]
    model: str
    revision: str | None
    weights: int | None
    share: float | None = None

    def held(self, gpu: float) -> float | None:
        """Return the bytes that it takes of a GPU of so many; None where they are not known."""
        return self.weights if self.share is None else self.share * gpu


def models_beside(config: TrialConfig) -> list[Beside]:
    """Return the models that a trial with these settings trains beside."""
    uses, prm = METHODS.get(config.method).uses, config.prm
    models = list(_critics(config)) if "critic" in uses else []
    if "prm" in uses and prm.taught is None:
        count = parameters(prm.model, prm.revision) or prm.parameters
        models.append(Beside("PRM", prm.model, prm.revision, _bytes(count, prm.dtype)))
    return models


def _critics(config: TrialConfig) -> Iterator[Beside]:
    critic, backbone = config.critic, BACKBONES.load(config.backbone)
    served = served_by(critic)
    if served is not None and served.embedded is None and served.serve.gpus == 0:
        yield replace(served_weights(critic, served), share=served.serve.gpu_memory_utilization)
    if not isinstance(critic, LocalParams) or critic.embedded_critic is not None:
        return
    share = critic.gpu_memory_utilization if isinstance(critic, VllmParams) else None
    if not critic.asks_policy:
        count = parameters(critic.model, critic.revision) or critic.parameters
        yield Beside("critic", critic.model, critic.revision, _bytes(count, critic.dtype), share)
    elif backbone.model is not None:
        count = backbone.planned.parameters if backbone.planned else None
        yield Beside("critic", backbone.model, backbone.revision, _bytes(count, critic.dtype), share)


def served_weights(critic: CriticParams, served: ServedCritic) -> Beside:
    """Return the model that the server of a critic loads."""
    serve = served.serve
    count = parameters(served.model, serve.revision) or getattr(critic, "parameters", None)
    # What vLLM chooses has two bytes.
    dtype = "bfloat16" if serve.dtype == "auto" else serve.dtype
    return Beside("critic", served.model, serve.revision, _bytes(count, dtype))


def parameters(model: str, revision: str | None) -> int | None:
    """Return how many parameters a model has by its files, in a folder or the hub's cache; None where they are not."""
    folder = Path(model) if Path(model).is_dir() else _cached(model, revision)
    return parameters_in(folder) if folder is not None and _whole(folder) else None


def _cached(model: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _whole(folder: Path) -> bool:
    """Whether all files of weights are there that the folder's index names."""
    index = folder / "model.safetensors.index.json"
    named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values() if index.exists() else ()
    return all((folder / name).exists() for name in {*named})


def _bytes(count: float | None, dtype: str) -> int | None:
    return None if count is None else int(count) * BYTES[dtype]
