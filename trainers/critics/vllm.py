"""The `vllm` critic's settings: a language model in vLLM's engine, started by this process and ended with it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from evals.models.spec import ModelSpec
from evals.settings import Positive
from trainers.critics.base import Surroundings
from trainers.critics.local import LocalParams


class VllmParams(LocalParams):
    """Settings of a critic that runs in vLLM's engine.

    Attributes:
        gpu_memory_utilization: Share of the accelerator's memory that the engine takes; a policy trained on the same
            one needs the rest.
        max_model_len: Longest prompt and reply together; None is what the model has.
        tensor_parallel_size: Over how many accelerators the model is split.
        enforce_eager: Start sooner, without compilation, and run slower.
    """

    backend: ClassVar[str | None] = "vllm"
    name: Literal["vllm"] = "vllm"
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.4
    max_model_len: Positive | None = None
    tensor_parallel_size: Positive = 1
    enforce_eager: bool = False

    MACHINE: ClassVar[frozenset[str]] = frozenset({"gpu_memory_utilization", "tensor_parallel_size", "enforce_eager"})

    def spec(self, surroundings: Surroundings) -> ModelSpec:
        """Return the model that is asked.

        Raises:
            ValueError: It is nowhere to be found: see `source`.
        """
        return ModelSpec(
            model=self.source(surroundings),
            backend="vllm",
            revision=self.revision,
            dtype=self.dtype,
            template="message",
            max_length=self.max_model_len,
            gpu_memory_utilization=self.gpu_memory_utilization,
            tensor_parallel_size=self.tensor_parallel_size,
            enforce_eager=self.enforce_eager,
        )
