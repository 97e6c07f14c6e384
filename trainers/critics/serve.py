"""Define the settings of the vLLM server that serves a critic during a run, and find its address."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from evals.settings import Positive, Strict

URL = "CAPO_BENCH_CRITIC_URL"
"""Environment variable with the address of the server of the trial's critic."""

TAKEN = "CAPO_BENCH_GPU_MEMORY_TAKEN"
"""Environment variable with the share of this process's GPU memory that servers of critics have taken."""


class ServeParams(Strict):
    """An OpenAI-compatible vLLM server that the harness starts for a run and stops at its end.

    Attributes:
        gpus: Number of GPUs for the server alone. With 0, it shares the first GPUs of the trials, or the CPUs of a
            machine without GPUs.
        tensor_parallel_size: Number of GPUs over which one copy of the model is split; the server runs as many copies
            as fit on `gpus`.
        dtype: Precision of the weights; ``auto`` is vLLM's choice, which is never float32.
        quantization: Method with which vLLM quantizes the weights at load time; None is the model's own.
        max_model_len: Maximum length of prompt and critique together in tokens; None is the model's own limit.
        gpu_memory_utilization: Share of each GPU's memory that the server takes.
        max_num_seqs: Maximum number of critiques that are generated concurrently; None is vLLM's default.
        enforce_eager: Whether to skip compilation, which starts sooner and runs slower.
        start_seconds: Time limit for downloading, loading and compiling the model.
    """

    gpus: Annotated[int, Field(ge=0)] = 1
    tensor_parallel_size: Positive = 1
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: str | None = None
    max_model_len: Positive | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_num_seqs: Positive | None = None
    enforce_eager: bool = False
    start_seconds: Annotated[float, Field(gt=0)] = 3600.0

    DECIDES: ClassVar[frozenset[str]] = frozenset({"revision", "dtype", "quantization", "max_model_len"})
    """Settings that decide what the critic says. The others say where and how fast it runs."""

    @model_validator(mode="after")
    def _whole_copies(self) -> ServeParams:
        if self.gpus % self.tensor_parallel_size:
            raise ValueError(
                f"gpus {self.gpus} is no multiple of tensor_parallel_size {self.tensor_parallel_size}, over which one "
                f"copy of the model is split; set gpus to {self.tensor_parallel_size} or a multiple of it"
            )
        if self.gpus == 0 and "gpu_memory_utilization" not in self.model_fields_set:
            raise ValueError(
                "gpus is 0: the server shares the GPUs of the trials, and nothing says how much of their memory it "
                "takes; set gpu_memory_utilization, as in 0.4, or gpus to 1 or more"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the critiques."""
        return self.model_dump(mode="json", include=set(self.DECIDES))


def measure_memory_taken() -> float:
    """Return the share of the memory of this process's GPUs that servers of critics have taken."""
    return float(os.environ.get(TAKEN) or 0.0)


def find_served_url() -> str:
    """Return the address of the critic's server.

    Raises:
        ValueError: No server was started for this process.
    """
    url = os.environ.get(URL, "")
    if not url:
        raise ValueError(
            "the critic is to be served by the harness (critic.serve), and no server was started for this process; "
            "use `capo-bench run` or `capo-bench critic`, or name a server of your own by critic.base_url"
        )
    return url
