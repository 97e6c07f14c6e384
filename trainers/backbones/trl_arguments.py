"""Turn a backbone's settings into arguments of TRL: adapters instead of full training, rollouts by vLLM."""

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

# Per token, so that one token with an extreme ratio does not mask a whole rollout, as TRL's default would.
_CORRECTION = {
    "vllm_importance_sampling_correction": True,
    "vllm_importance_sampling_mode": "token_truncate",
    "vllm_importance_sampling_clip_max": 2.0,
}


class ServerBusyError(RuntimeError):
    """Another trial on this machine samples from the vLLM server, which therefore holds that trial's weights."""


def select_sampling(backbone: BackboneConfig) -> dict[str, Any]:
    """Return the arguments of `GRPOConfig` that select the sampler of the rollouts.

    vLLM computes slightly different probabilities than the policy that is updated. Each token's update is weighted by
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


def build_server_command(backbone: BackboneConfig) -> str:
    """Return the command that starts the vLLM server of a backbone; an empty string if the backbone uses none."""
    vllm = backbone.vllm
    if vllm is None or vllm.mode != "server":
        return ""
    revision = f" --revision {backbone.revision}" if backbone.revision else ""
    return (
        f"trl vllm-serve --model {backbone.model}{revision} --host {vllm.host} --port {vllm.port} "
        f"--tensor-parallel-size {vllm.tensor_parallel} --gpu-memory-utilization {vllm.memory}"
    )


@contextmanager
def lock_server(vllm: VllmRollouts | None) -> Iterator[None]:
    """Lock the vLLM server, if rollouts come from one, because other trials would replace its weights.

    Raises:
        ServerBusyError: Another trial uses the server; the message names the server and the way out.
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


def configure_adapters(backbone: BackboneConfig) -> LoraConfig | None:
    """Return the settings of the adapters to train; None if the whole model is trained."""
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
    """Return the model from which training starts; for an adapter, its base with the trainable adapter attached.

    Raises:
        ModelError: The adapter does not fit its base.
    """
    import torch
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, backbone.dtype)
    model = AutoModelForCausalLM.from_pretrained(place.model, dtype=dtype, trust_remote_code=False)
    return model if place.adapter is None else attach(model, place.adapter, trainable=True)


def name_base(model: Any, start: str, revision: str | None) -> None:
    """Write the name of the base model into the adapter's configuration, which is needed to load the adapter.

    Args:
        model: A model with or without an adapter.
        start: Folder or repository id of the base. If training started from an adapter, its own base is kept.
        revision: Revision of the repository.
    """
    settings = getattr(model, "peft_config", {}).get("default")
    if settings is not None and not is_adapter(Path(start)):
        folder = Path(start)
        base = (str(folder.absolute()), None) if folder.is_dir() else (start, revision)
        settings.base_model_name_or_path, settings.revision = base


def list_merged_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the names and weights of a model with its adapter merged, one at a time; the model itself is unchanged.

    The sampling engine loads these weights. TRL would merge in place and unmerge again, in the base's precision, which
    changes the base slightly each time. Here each sum is computed in float32 and rounded once.

    Args:
        model: A `PeftModel` whose weights are not sharded in this process.
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
