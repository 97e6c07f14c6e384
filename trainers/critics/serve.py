"""How the harness serves a critic: the settings of one vLLM server for a run, and where a critic finds it."""

from __future__ import annotations

import os
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from evals.settings import Positive, Strict

URL = "CAPO_BENCH_CRITIC_URL"
"""Environment variable that tells a process where the server of its trial's critic is."""

TAKEN = "CAPO_BENCH_GPU_MEMORY_TAKEN"
"""Environment variable that tells a process which share of its GPUs' memory critics' servers have taken."""


class ServeParams(Strict):
    """An OpenAI-compatible vLLM server that is started for a run and ends with it.

    Attributes:
        gpus: GPUs that the server has for itself. 0: none; it shares the first GPUs of the trials, or the processors of
            a machine without GPUs.
        tensor_parallel_size: GPUs over which one copy of the model is split; the server has as many copies as fit on
            `gpus`.
        dtype: Precision of the weights; ``auto`` is vLLM's choice, which never is float32.
        quantization: Method by which vLLM quantizes the weights while it loads them; None is what the model has.
        max_model_len: Longest prompt and critique together in tokens; None is what the model has.
        gpu_memory_utilization: Share of each GPU's memory that the server takes.
        max_num_seqs: Most critiques that are written at a time; None is vLLM's choice.
        enforce_eager: Start sooner, without compilation, and run slower.
        start_seconds: Longest time to download, load and compile the model.
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
        """Return the settings that decide what the critic says."""
        return self.model_dump(mode="json", include=set(self.DECIDES))


def memory_taken() -> float:
    """Return which share of the memory of this process's GPUs servers of critics have taken."""
    return float(os.environ.get(TAKEN) or 0.0)


def served_url() -> str:
    """Return where the server of the critic is.

    Raises:
        ValueError: Nobody has started one for this process.
    """
    url = os.environ.get(URL, "")
    if not url:
        raise ValueError(
            "the critic is to be served by the harness (critic.serve), and no server was started for this process; "
            "use `capo-bench run` or `capo-bench critic`, or name a server of your own by critic.base_url"
        )
    return url
