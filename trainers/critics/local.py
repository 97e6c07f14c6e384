"""Define critics whose model runs in this process: `transformers`, and `vllm`, whose engine ends with the process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from evals.models.spec import ModelSpec
from evals.settings import Positive
from trainers.critics.base import EmbeddedCriticConfig, Surroundings
from trainers.critics.language import LanguageParams

EMBEDDED = "embedded"
POLICY = "policy"


class LocalParams(LanguageParams):
    """Settings of a critic whose model runs in this process.

    Attributes:
        model: ``embedded`` (the tiny critic that the harness trains), ``policy`` (the model from which training starts,
            which is not updated), a repository id or a local folder.
        embedded: Training settings of the embedded critic; no effect for any other model.
    """

    model: str = EMBEDDED
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    embedded: EmbeddedCriticConfig = EmbeddedCriticConfig()

    @model_validator(mode="after")
    def _revision_of_a_repository(self) -> LocalParams:
        if self.revision is not None and self.model in {EMBEDDED, POLICY}:
            owner = "has none" if self.model == EMBEDDED else "has that of the backbone"
            raise ValueError(
                f"revision {self.revision!r} is set but the model is {self.model!r}, which {owner}; "
                "set model to a repository id, or leave revision out"
            )
        return self

    @property
    def embedded_critic(self) -> EmbeddedCriticConfig | None:
        """Training settings of the embedded critic; None for any other model."""
        return self.embedded if self.model == EMBEDDED else None

    @property
    def asks_policy(self) -> bool:
        """Whether the critic is the policy before training."""
        return self.model == POLICY

    @property
    def size_known(self) -> bool:
        """Whether the model's parameters can be counted, or the settings give their number."""
        counted = self.embedded_critic is not None or self.asks_policy or Path(self.model).is_dir()
        return counted or super().size_known

    def size(self, surroundings: Surroundings) -> int | None:
        """Return the number of parameters in the model's folder; without a folder, the number from the settings."""
        folder = surroundings.embedded if self.embedded_critic is not None else Path(self.model)
        return count_parameters(folder) if folder is not None and folder.is_dir() else super().size(surroundings)

    def spec(self, surroundings: Surroundings) -> ModelSpec:
        """Return the model to use.

        Raises:
            ValueError: The model is the embedded one and the surroundings have none, or it is the policy, which only a
                trial has.
        """
        settings = self.model_dump(include={*type(self).model_fields} & {*ModelSpec.model_fields})
        settings |= {"model": self._find_model(surroundings), "backend": self.backend, "template": "message"}
        return ModelSpec(**settings)

    def _find_model(self, surroundings: Surroundings) -> str:
        """Return the folder or repository id from which the model is loaded."""
        if self.asks_policy:
            raise ValueError(
                f"critic {self.name!r} asks for the policy that a trial starts from, and this is no trial; "
                "set critic.model to that model: its repository id or its folder"
            )
        if self.embedded_critic is None:
            return self.model
        if surroundings.embedded is None:
            raise ValueError(
                f"critic {self.name!r} asks for the embedded model but none was trained; "
                "train it first, or set critic.model to a repository id or a folder"
            )
        return str(surroundings.embedded)


class TransformersParams(LocalParams):
    """Settings of a critic that runs through Transformers.

    Attributes:
        batch_tokens: Maximum number of tokens in memory at once: each critique counts with its prompt and its maximum
            length.
    """

    backend: ClassVar[str | None] = "hf"
    where: ClassVar[frozenset[str]] = LocalParams.where | {"batch_tokens"}
    name: Literal["transformers"] = "transformers"
    batch_tokens: Positive = 131072


class VllmParams(LocalParams):
    """Settings of a critic that runs in vLLM's engine.

    Attributes:
        gpu_memory_utilization: Share of the GPU's memory that the engine takes; a policy that is trained on the same
            GPU needs the rest.
        max_model_len: Maximum length of prompt and reply together; None is the model's own limit.
        tensor_parallel_size: Number of GPUs over which the model is split.
        enforce_eager: Whether to skip compilation, which starts sooner and runs slower.
    """

    backend: ClassVar[str | None] = "vllm"
    where: ClassVar[frozenset[str]] = LocalParams.where | {
        "gpu_memory_utilization", "tensor_parallel_size", "enforce_eager",
    }  # fmt: skip
    name: Literal["vllm"] = "vllm"
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.4
    max_model_len: Positive | None = None
    tensor_parallel_size: Positive = 1
    enforce_eager: bool = False

    def spec(self, surroundings: Surroundings) -> ModelSpec:
        """Return the model to use, with its maximum length."""
        return super().spec(surroundings).model_copy(update={"max_length": self.max_model_len})


def count_parameters(folder: Path) -> int | None:
    """Return the number of parameters in a folder's safetensors files, from their headers; None if there are none."""
    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total or None
