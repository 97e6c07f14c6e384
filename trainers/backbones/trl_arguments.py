"""How a backbone's YAML becomes arguments of TRL: adapters in place of full training, rollouts by vLLM."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.fingerprint import is_adapter
from evals.models.adapters import attach
from evals.models.folders import ModelFolders
from trainers.backbones import BackboneConfig, VllmRollouts

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

# Token by token, so that one unlucky token does not silence a whole rollout, as TRL's own choice would.
_CORRECTION = {
    "vllm_importance_sampling_correction": True,
    "vllm_importance_sampling_mode": "token_truncate",
    "vllm_importance_sampling_clip_max": 2.0,
}


class ServerBusyError(RuntimeError):
    """Another trial of this machine samples from the server: it holds that trial's weights."""


def sampling(backbone: BackboneConfig) -> dict[str, Any]:
    """Return what of `GRPOConfig` says who samples the rollouts.

    vLLM computes probabilities a little differently from the policy that is updated; each token's update is weighted by
    their ratio, at most 2 (truncated importance sampling).
    """
    vllm = backbone.vllm
    if vllm is None:
        return {"use_vllm": False}
    common = {"use_vllm": True, "vllm_mode": vllm.mode, **_CORRECTION}
    if vllm.mode == "server":
        return {**common, "vllm_server_base_url": f"http://{vllm.host}:{vllm.port}"}
    return {
        **common,
        "vllm_gpu_memory_utilization": vllm.memory,
        "vllm_tensor_parallel_size": vllm.tensor_parallel,
        "vllm_enable_sleep_mode": vllm.sleep,
    }


def server_command(backbone: BackboneConfig) -> str:
    """Return the command that starts the server of a backbone whose rollouts come from one, or an empty text."""
    vllm = backbone.vllm
    if vllm is None or vllm.mode != "server":
        return ""
    revision = f" --revision {backbone.revision}" if backbone.revision else ""
    return (
        f"trl vllm-serve --model {backbone.model}{revision} --host {vllm.host} --port {vllm.port} "
        f"--tensor-parallel-size {vllm.tensor_parallel} --gpu-memory-utilization {vllm.memory}"
    )


@contextmanager
def server_alone(vllm: VllmRollouts | None) -> Iterator[None]:
    """Keep other trials of this machine from the server, if rollouts come from one: they would replace its weights.

    Raises:
        ServerBusyError: Another trial uses it; names it and the way out.
    """
    if vllm is None or vllm.mode != "server":
        yield
        return
    path = Path(tempfile.gettempdir()) / f"capo-bench-vllm-{vllm.host}-{vllm.port}.lock"
    with path.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerBusyError(
                f"the vLLM server at {vllm.host}:{vllm.port} samples for another trial, whose weights it holds; run "
                "one trial at a time (--workers 1), or give the backbone vllm.mode: colocate"
            ) from error
        yield


def adapters(backbone: BackboneConfig) -> LoraConfig | None:
    """Return the adapters to train; None where all of the model is trained."""
    if backbone.lora is None:
        return None
    from peft import LoraConfig

    lora = backbone.lora
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )


def load_start(place: ModelFolders, backbone: BackboneConfig) -> Any:
    """Return the model that training starts from; of an adapter its base, with the adapter on it to be trained on.

    Raises:
        ModelError: The adapter does not fit its base.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, backbone.dtype)
    model = AutoModelForCausalLM.from_pretrained(place.model, dtype=dtype, trust_remote_code=False)
    return model if place.adapter is None else attach(model, place.adapter, trainable=True)


def name_base(model: Any, start: str, revision: str | None) -> None:
    """Write into a model's adapter what it rests on, as whoever loads it needs to know.

    Args:
        model: A model, with an adapter or without.
        start: Folder or repository id of the base; where training started from an adapter, that stays on its own.
        revision: Revision of the repository.
    """
    settings = getattr(model, "peft_config", {}).get("default")
    if settings is not None and not is_adapter(Path(start)):
        folder = Path(start)
        base = (str(folder.absolute()), None) if folder.is_dir() else (start, revision)
        settings.base_model_name_or_path, settings.revision = base


def merged_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the weights of a model with its adapter added, by the base's names, one at a time; the base stays as it is.

    An engine that samples takes them. TRL would merge in place and unmerge again, in the base's precision, and move the
    base a little each time. Here each sum is made in float32 and rounded once.

    Args:
        model: A `PeftModel` whose weights are whole in this process.
    """
    layers = dict(model.named_modules())
    for name, weight in model.named_parameters():
        if model.prefix in name or "original_module" in name:
            continue
        inner = name.removesuffix(".base_layer.weight")
        data = weight.data
        if inner != name and model.active_adapter in layers[inner].scaling:
            delta = layers[inner].get_delta_weight(model.active_adapter)
            data = (data.float() + delta.float()).to(data.dtype)
        named = name.removeprefix("base_model.model.").replace(".base_layer", "")
        yield named.replace("modules_to_save.default.", ""), data
