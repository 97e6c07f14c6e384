"""Define the models that are trained, one YAML each: the model's location, its precision and its hardware."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from evals.models.prompt import Template
from evals.registry import UnknownNameError, suggest_similar
from evals.settings import Positive, Strict

FOLDER = Path(__file__).parent
OWN_FOLDER = "CAPO_BENCH_BACKBONES"
"""Environment variable with the path of a folder of the user's own backbones."""


class FsdpConfig(Strict):
    """Fully sharded data parallelism, version 2: processes share parameters, gradients and optimizer state.

    Attributes:
        layers: Classes of layers that are gathered one at a time; by default those that the model says not to split.
        reshard_after_forward: Whether a layer is freed after the forward pass and gathered again for the backward pass.
            This takes less memory and more communication.
        checkpoints: ``sharded`` (each process writes its shard) or ``full`` (the first process gathers everything in
            its host memory).
    """

    layers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    reshard_after_forward: bool = True
    cpu_offload: bool = False
    checkpoints: Literal["sharded", "full"] = "sharded"


class DeepSpeedConfig(Strict):
    """DeepSpeed's ZeRO (arXiv 1910.02054).

    Attributes:
        stage: What is sharded: 1 the optimizer's state, 2 also gradients, 3 also parameters.
        offload_optimizer: Where the optimizer's state is kept instead of on the GPUs.
        offload_param: Where the parameters are kept instead of on the GPUs; only with stage 3.
    """

    stage: Literal[1, 2, 3] = 2
    offload_optimizer: Literal["none", "cpu"] = "none"
    offload_param: Literal["none", "cpu"] = "none"

    @model_validator(mode="after")
    def _only_what_is_shared_out_is_moved(self) -> DeepSpeedConfig:
        if self.offload_param != "none" and self.stage != 3:
            raise ValueError(
                f"offload_param {self.offload_param!r} with stage {self.stage}: ZeRO moves parameters from stage 3 on; "
                "set stage to 3 or offload_param to none"
            )
        return self


class LoraSettings(Strict):
    """Low-rank adapters (arXiv 2106.09685): the base weights are frozen; the adapters are trained, saved and evaluated.

    Attributes:
        alpha: Scale: an adapter's output is multiplied by alpha / rank.
        dropout: Dropout rate of an adapter's input.
        targets: Modules that get an adapter; by default all linear layers except the head.
    """

    rank: Positive = 32
    alpha: Positive = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(strict=False)] = ()


class VllmRollouts(Strict):
    """Rollouts sampled by vLLM instead of by Transformers.

    Attributes:
        mode: ``colocate`` (an engine in each training process, on its GPU) or ``server`` (``trl vllm-serve``, which the
            user starts on separate GPUs and which serves one trial at a time).
        memory: Share of a GPU's memory that an engine takes.
        tensor_parallel: Number of GPUs over which the model is split.
        sleep: Whether a colocated engine frees its memory while the policy is updated.
    """

    mode: Literal["colocate", "server"] = "colocate"
    memory: Annotated[float, Field(gt=0, lt=1)] = 0.3
    tensor_parallel: Positive = 1
    sleep: bool = True
    gpus: Positive = 1
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000


class Planned(Strict):
    """The hardware and the model's shape, from which a plan estimates the needs of a step. They do not affect results.

    Attributes:
        gpu_gib: Memory of each GPU.
        prompt_tokens: Tokens of a long prompt.
        parameters: Number of the model's parameters; tied embeddings count once.
        hidden: Hidden size.
        intermediate: Hidden size of the feed-forward layers.
        query: Number of attention heads × head size.
        key_value: Number of key heads × head size.
        vocabulary: Number of rows of the embedding.
    """

    gpu_gib: Positive
    prompt_tokens: Positive = 512
    parameters: Positive
    layers: Positive
    hidden: Positive
    intermediate: Positive
    query: Positive
    key_value: Positive
    vocabulary: Positive


class BackboneConfig(Strict):
    """Where a backbone comes from, its precision, and the hardware on which it is trained.

    Attributes:
        source: ``embedded`` (built here, trained by the cold start) or ``hub`` (a repository id or a local folder).
        model: Repository id or folder, for ``hub``.
        dtype: Precision of the stored and updated weights. At the learning rates of reinforcement learning, an update
            is smaller than what bfloat16 can add to a weight, so full training stores weights in float32.
        precision: Precision of forward and backward passes (autocast if it differs from `dtype`) and of evaluation.
        gradient_checkpointing: Whether to save memory at the cost of time.
        micro_batch: Rollouts per forward and backward pass of a process, unless a trial sets it; None: all its
            rollouts.
        template: Format of the prompt (`evals.models.prompt`).
        width: Hidden size of an embedded model.
        processes: Number of processes that train it together: one per GPU; on the CPU if it is embedded. It affects the
            result, because each process samples with its own random numbers.
        sharding: How its parameters are sharded among the processes; ``none``: each process has all parameters.
        fsdp: Settings for ``sharding: fsdp``; None: its defaults.
        deepspeed: Settings for ``sharding: deepspeed``; None: its defaults.
        vllm: Settings of rollouts by vLLM; None: Transformers samples.
        planned: The hardware and the model's shape for which these settings were chosen.
    """

    source: Literal["embedded", "hub"]
    model: str | None = None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    precision: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    micro_batch: Positive | None = None
    template: Template = "bare"
    width: Positive = 128
    layers: Annotated[int, Field(ge=1, le=64)] = 2
    processes: Positive = 1
    sharding: Literal["none", "fsdp", "deepspeed"] = "none"
    fsdp: FsdpConfig | None = None
    deepspeed: DeepSpeedConfig | None = None
    lora: LoraSettings | None = None
    vllm: VllmRollouts | None = None
    planned: Planned | None = None

    @property
    def gpus(self) -> int:
        """Number of GPUs for training: one per process; 0 for an embedded model, which is trained on the CPU."""
        return 0 if self.source == "embedded" else self.processes

    @model_validator(mode="after")
    def _sharded_in_one_way(self) -> BackboneConfig:
        for name in ("fsdp", "deepspeed"):
            if getattr(self, name) is not None and self.sharding != name:
                raise ValueError(
                    f"section {name} with sharding {self.sharding!r}: it would change nothing; set sharding to {name} "
                    f"or remove the section"
                )
        if self.sharding != "none" and self.source == "embedded":
            raise ValueError(
                f"sharding {self.sharding!r} with source 'embedded': an embedded model is trained on the CPU, where "
                "nothing is sharded; remove sharding"
            )
        if self.sharding != "none" and self.processes == 1:
            raise ValueError(
                f"sharding {self.sharding!r} with 1 process: there is nobody to share with; set processes to 2 or more "
                "or remove sharding"
            )
        return self

    @model_validator(mode="after")
    def _adapters_are_whole(self) -> BackboneConfig:
        if self.lora is not None and self.sharding != "none":
            raise ValueError(
                f"section lora with sharding {self.sharding!r}: adapters are added to whole weights for rollouts; "
                "remove sharding (each process then holds all weights, but states of AdamW for adapters only), or lora"
            )
        if self.lora is not None and self.source == "embedded":
            raise ValueError(
                "section lora with source 'embedded': a kept adapter rests on a base, and an embedded model is made "
                "anew in each results folder; remove lora"
            )
        return self

    @model_validator(mode="after")
    def _sampled_where_it_can_be(self) -> BackboneConfig:
        if self.vllm is not None and self.source == "embedded":
            raise ValueError(
                "section vllm with source 'embedded': Transformers samples an embedded model, on the CPU; remove vllm"
            )
        if self.vllm is not None and self.vllm.mode == "colocate" and self.processes % self.vllm.tensor_parallel:
            raise ValueError(
                f"vllm.tensor_parallel {self.vllm.tensor_parallel} with {self.processes} processes: colocated engines "
                f"split the model among training processes; set tensor_parallel to a divisor of {self.processes}"
            )
        return self

    @model_validator(mode="after")
    def _held_in_what_it_can_learn_in(self) -> BackboneConfig:
        if self.dtype == "bfloat16" and self.precision == "float32":
            raise ValueError(
                "dtype bfloat16 with precision float32: weights are rounded and nothing is gained; set precision to "
                "bfloat16, or dtype to float32"
            )
        if self.dtype == "bfloat16" and self.lora is None:
            raise ValueError(
                "dtype bfloat16 without lora: full training would lose updates that are smaller than bfloat16 can add; "
                "set dtype to float32 (and precision to bfloat16), or add lora"
            )
        return self


class _Backbones:
    def names(self) -> list[str]:
        return sorted(self._files())

    def check(self, name: str) -> str:
        """Return ``name`` if there is a backbone with this name, else raise `UnknownNameError`."""
        if name not in self.names():
            names = ", ".join(self.names())
            way_out = f"; your own are the YAML files of the folder that {OWN_FOLDER} names"
            raise UnknownNameError(
                f"unknown backbone {name!r}{suggest_similar(name, self.names())}; known: {names}{way_out}"
            )
        return name

    def path(self, name: str) -> Path:
        """Return the path of the backbone's YAML: the user's own, or one that ships with this package."""
        return self._files()[self.check(name)]

    def _files(self) -> dict[str, Path]:
        shipped = {path.stem: path for path in FOLDER.glob("*.yaml")}
        folder = os.environ.get(OWN_FOLDER)
        own = {path.stem: path for path in Path(folder).glob("*.yaml")} if folder else {}
        if both := sorted(shipped.keys() & own.keys()):
            raise ValueError(f"{own[both[0]]}: a backbone {both[0]!r} ships with capo-bench; rename yours")
        return {**shipped, **own}

    def load(self, name: str) -> BackboneConfig:
        """Read the backbone's YAML."""
        path = self.path(name)
        return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, changed: int) -> BackboneConfig:
    """Read a file once, and again if it has changed: a plan loads the same backbone hundreds of times."""
    return BackboneConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


BACKBONES = _Backbones()
