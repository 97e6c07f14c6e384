"""Define the settings of the `openai` critic: any server with OpenAI's chat completions API, local or hosted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from evals.models.spec import EndpointSettings, ModelSpec, read_key
from trainers.critics.base import EmbeddedCriticConfig, Surroundings
from trainers.critics.language import LanguageParams
from trainers.critics.local import EMBEDDED, POLICY, count_parameters
from trainers.critics.serve import ServeParams, find_served_url

_REACHED = frozenset({"base_url", "api_key_env", "concurrency", "deadline_seconds", "max_retries", "breaker", "price"})


class EndpointParams(LanguageParams, EndpointSettings):
    """Settings of a critic behind an OpenAI-compatible endpoint, either an existing one or one that the harness serves.

    Attributes:
        model: The model's name at the endpoint. If `serve` is set: a repository id, a folder or ``embedded`` (the tiny
            critic that the harness trains).
        serve: Settings of the server that the harness starts for the run; excludes `base_url`.
        embedded: Training settings of the embedded critic; no effect for any other model.
    """

    backend: ClassVar[str | None] = "openai"
    where: ClassVar[frozenset[str]] = LanguageParams.where | _REACHED | {"serve"}
    name: Literal["openai"] = "openai"
    model: Annotated[str, Field(min_length=1)]
    serve: ServeParams | None = None
    embedded: EmbeddedCriticConfig = EmbeddedCriticConfig()

    @model_validator(mode="after")
    def _one_place(self) -> EndpointParams:
        if bool(self.base_url) == (self.serve is not None):
            given = "both base_url and serve are" if self.base_url else "neither base_url nor serve is"
            raise ValueError(
                f"{given} set; set base_url for a server that runs already, as in http://127.0.0.1:8000/v1, "
                "or serve for one that the harness starts, as in {gpus: 1}"
            )
        if self.serve is not None and self.model == POLICY:
            raise ValueError(
                f"serve serves one model for all trials, and {POLICY!r} is another for each start; set model to a "
                "repository id or a folder, or name to 'transformers'"
            )
        return self

    @property
    def embedded_critic(self) -> EmbeddedCriticConfig | None:
        """Training settings of the embedded critic, if the harness serves it; None for any other model."""
        return self.embedded if self.serve is not None and self.model == EMBEDDED else None

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the critiques, and the version of the prompt."""
        served = {} if self.serve is None else {"serve": self.serve.identity()}
        return {**super().identity(), **served}

    @property
    def size_known(self) -> bool:
        """Whether the served model's parameters can be counted, or the settings give their number."""
        counted = self.embedded_critic is not None or (self.serve is not None and Path(self.model).is_dir())
        return counted or super().size_known

    def size(self, surroundings: Surroundings) -> int | None:
        """Return the number of parameters in the served model's folder; if there is no folder, that of the settings."""
        folder = surroundings.embedded if self.embedded_critic is not None else Path(self.model)
        counted = count_parameters(folder) if self.serve is not None and folder is not None else None
        return counted or super().size(surroundings)

    def spec(self, surroundings: Surroundings) -> ModelSpec:
        """Return the model to use; the key, and the address of a served model, are read from the environment alone.

        Raises:
            ValueError: The model is to be served but no server was started, or the key cannot be sent.
        """
        read_key(self.api_key_env)  # an invalid key fails here, before any work
        reached = self.model_dump(include={*_REACHED, "body"})
        reached |= {} if self.serve is None else {"base_url": find_served_url()}
        return ModelSpec(model=self.model, backend="openai", template="message", **reached)
