"""Critics of solutions behind one interface; `CRITICS` lists them by name."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import Field

from evals.registry import Registry
from trainers.critics.base import CriticParams

CRITICS: Registry[type[CriticParams]] = Registry(
    "critic",
    "capo_bench.critics",
    {
        "exact": "trainers.critics.exact:ExactParams",
        "noisy": "trainers.critics.noisy:NoisyParams",
        "openai": "trainers.critics.endpoint:EndpointParams",
        "random": "trainers.critics.random_steps:RandomParams",
        "shuffled": "trainers.critics.shuffled:ShuffledParams",
        "transformers": "trainers.critics.local:TransformersParams",
        "vllm": "trainers.critics.local:VllmParams",
    },
)


def build_critic_params() -> Any:
    """Return the union of all critics' parameter models, discriminated by `name`.

    This imports every critic's file. Therefore these files keep heavy imports inside functions.
    """
    models = tuple(CRITICS.get(name) for name in CRITICS.names())
    return Annotated[Union[models], Field(discriminator="name")]  # noqa: UP007 - built from a tuple
