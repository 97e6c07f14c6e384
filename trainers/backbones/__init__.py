"""The models that are trained, one YAML each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from evals.config import Positive, Strict
from evals.harness.prompt import Template
from evals.registry import UnknownNameError, did_you_mean

FOLDER = Path(__file__).parent
OWN_FOLDER = "CAPO_BENCH_BACKBONES"
"""Environment variable that names a folder of the user's own backbones."""


class FsdpConfig(Strict):
    """Fully sharded data parallelism, version 2: parameters, gradients and optimizer are shared out among processes.

    Attributes:
        layers: Classes of layers that are gathered one at a time; none given: those that the model says not to split.
        reshard_after_forward: Whether a layer is let go after the forward pass, and gathered again for the backward
            pass: less memory, more traffic.
        cpu_offload: Keep the shares in the host's memory.
        checkpoints: ``sharded`` (each process writes its share) or ``full`` (the first one gathers everything in its
            host memory).
    """

    layers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    reshard_after_forward: bool = True
    cpu_offload: bool = False
    checkpoints: Literal["sharded", "full"] = "sharded"


class DeepSpeedConfig(Strict):
    """DeepSpeed's ZeRO (arXiv 1910.02054).

    Attributes:
        stage: What is shared out: 1 the optimizer's state, 2 gradients too, 3 parameters too.
        offload_optimizer: Where the optimizer's state is kept instead of on the GPUs.
        offload_param: Where the parameters are kept instead; stage 3 alone.
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


class BackboneConfig(Strict):
    """Where a backbone comes from, how it is held, and on how much it is trained.

    Attributes:
        source: ``embedded`` (built here, trained by the cold start) or ``hub`` (a repository id or a local folder).
        model: Repository id or folder, for ``hub``.
        revision: Pinned revision of the repository.
        dtype: Precision of the weights.
        gradient_checkpointing: Trade time for memory.
        template: How a problem is put to it (`evals.harness.prompt`).
        width: Hidden size of an embedded model.
        layers: Depth of an embedded model.
        processes: Processes that train it together: one a GPU, or on the CPU where it is embedded. A part of the
            result: each draws for itself.
        sharding: How its parameters are shared out among them; ``none``: each has all of them.
        fsdp: For ``sharding: fsdp``; none given: its defaults.
        deepspeed: For ``sharding: deepspeed``; none given: its defaults.
    """

    source: Literal["embedded", "hub"]
    model: str | None = None
    revision: str | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    gradient_checkpointing: bool = False
    template: Template = "bare"
    width: Positive = 128
    layers: Annotated[int, Field(ge=1, le=64)] = 2
    processes: Positive = 1
    sharding: Literal["none", "fsdp", "deepspeed"] = "none"
    fsdp: FsdpConfig | None = None
    deepspeed: DeepSpeedConfig | None = None

    @property
    def gpus(self) -> int:
        """How many GPUs training wants: one a process; an embedded model is trained on the CPU."""
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


class _Backbones:
    kind = "backbone"

    def names(self) -> list[str]:
        return sorted(self._files())

    def check(self, name: str) -> str:
        """Return ``name`` if there is a backbone of that name, or raise `UnknownNameError`."""
        if name not in self.names():
            known = ", ".join(self.names())
            way_out = f"; your own are the YAML files of the folder that {OWN_FOLDER} names"
            raise UnknownNameError(
                f"unknown backbone {name!r}{did_you_mean(name, self.names())}; known: {known}{way_out}"
            )
        return name

    def path(self, name: str) -> Path:
        """Return the backbone's YAML: the user's own, or one that ships here.

        Raises:
            ValueError: There are both.
        """
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
        return BackboneConfig.model_validate(yaml.safe_load(self.path(name).read_text(encoding="utf-8")))


BACKBONES = _Backbones()
