"""Define the settings of a language model and of its backend. This module imports pydantic only."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, JsonValue, ValidationError, field_validator, model_validator

from evals.key_names import note_key_name
from evals.models.base import ModelError
from evals.registry import suggest_similar
from evals.settings import Positive, Strict

_BATCH = {"hf": 512, "vllm": 4096, "openai": 128}
_LOCAL_ONLY = ("revision", "dtype", "max_length")
_OURS = frozenset({"model", "messages", "n", "seed", "stream"})

Seconds = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
KeyName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$"), AfterValidator(note_key_name)]
"""Name of the environment variable with a key."""


class Price(Strict):
    """Price of a million prompt tokens, cached prompt tokens and generated tokens, in any currency."""

    prompt: Amount
    cached: Amount
    output: Amount


class BreakerParams(Strict):
    """When to stop sending requests to a failing endpoint.

    Attributes:
        failures: Number of consecutive failed requests, each with its retries, after which requests fail at once.
        cool_down_seconds: Duration of that state. After it, one request is sent; if it succeeds, all others are
            allowed.
    """

    failures: Positive = 5
    cool_down_seconds: Seconds = 30.0


class EndpointSettings(Strict):
    """The address of an endpoint of chat completions, and the settings of each request.

    Attributes:
        base_url: Address of the API, as in ``http://127.0.0.1:8000/v1``. It must not contain a key; the key is read
            from the environment.
        api_key_env: Name of the environment variable with the key; a server without keys needs none.
        concurrency: Maximum number of concurrent requests, over all processes of a training.
        deadline_seconds: Time limit for a request with its retries; one attempt may take half of it. None is 60 s plus
            2 s per 5 tokens of the maximum reply length.
        max_retries: Maximum number of retries of a request after 429, 5xx, a lost connection or an unreadable reply.
        breaker: When to stop sending requests to a failing endpoint.
        price: Price of the tokens; None counts no money.
        body: Fields of the request that are added or replaced; null removes one.
    """

    base_url: str | None = None
    api_key_env: KeyName = "OPENAI_API_KEY"
    concurrency: Positive = 16
    deadline_seconds: Seconds | None = None
    max_retries: Annotated[int, Field(ge=0, le=100)] = 6
    breaker: BreakerParams = BreakerParams()
    price: Price | None = None
    body: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return check_url(url) if url else None

    @field_validator("body")
    @classmethod
    def _check_body(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted(field for field, value in body.items() if field in _OURS and (field, value) != ("seed", None))
        if taken:
            raise ValueError(
                f"body sets {', '.join(taken)}, which the harness sets itself; leave them out "
                "(only seed may be null, for a server that takes none)"
            )
        return body


class ModelSpec(EndpointSettings):
    """The location of a model, and how it is loaded. The settings of `EndpointSettings` are for backend `openai`.

    Attributes:
        model: Folder or repository id of a model or of a LoRA adapter; for `openai`, the model's name at the endpoint.
        backend: ``hf`` (Transformers), ``vllm`` or ``openai`` (any server of chat completions).
        dtype: Precision of the weights; ``auto`` is the stored one.
        template: Form of the prompt (`evals.models.prompt`); ``auto`` is that of the model's training.
        batch_size: Number of completions that an evaluation requests and stores at a time. None is 128 for `openai`,
            512 for `hf` and 4,096 for `vllm`, whose engine waits for the longest completion of each batch.
        batch_tokens: Maximum number of tokens that `hf` processes at once; each completion counts with its prompt and
            its maximum length.
        max_length: Maximum length of prompt and completion together in tokens; None is the model's own limit.
        gpu_memory_utilization: Share of the GPU's memory that `vllm` takes.
        tensor_parallel_size: Number of GPUs over which `vllm` splits the model.
        enforce_eager: Whether `vllm` skips compilation, which starts sooner and runs slower.
    """

    model: Annotated[str, Field(min_length=1)]
    backend: Literal["hf", "vllm", "openai"] = "hf"
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    template: Literal["auto", "bare", "plain", "chat", "message"] = "auto"
    batch_size: Positive | None = None
    batch_tokens: Positive = 131072
    max_length: Positive | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    tensor_parallel_size: Positive = 1
    enforce_eager: bool = False

    @property
    def batch(self) -> int:
        """Number of completions per batch."""
        return self.batch_size or _BATCH[self.backend]

    @model_validator(mode="after")
    def _check_backend(self) -> ModelSpec:
        problems = [*self._check_endpoint()] if self.backend == "openai" else []
        if self.backend != "openai" and self.base_url is not None:
            problems.append(f"base_url is for backend openai, and the backend is {self.backend}; leave out one of both")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _check_endpoint(self) -> list[str]:
        problems = []
        if self.base_url is None:
            problems.append("backend openai needs base_url, as in http://127.0.0.1:8000/v1")
        if self.template == "plain":
            problems.append("template 'plain' is not for backend openai, which puts a chat template around; say 'chat'")
        default = {name: ModelSpec.model_fields[name].default for name in _LOCAL_ONLY}
        problems += [
            f"{name} is not for backend openai: the endpoint decides it; leave it out"
            for name in _LOCAL_ONLY
            if getattr(self, name) != default[name]
        ]
        return problems


def read_key(variable: str) -> str | None:
    """Return the key in the environment, or None.

    Raises:
        ValueError: The key has characters that cannot be sent.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"the environment variable {variable} holds characters that no key has; set it again")
    return key or None


def check_url(url: str) -> str:
    """Return a base URL without its last slash.

    Raises:
        ValueError: It is no http address, or contains more than an address, which would be stored and shown.
    """
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "base_url holds more than a place (a user, a password, a query or a fragment); "
            "a key belongs into the environment variable that api_key_env names (OPENAI_API_KEY)"
        )
    # A port that is no number already raises ValueError.
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"base_url {url!r} is no http address; write it as in http://127.0.0.1:8000/v1")
    return url.rstrip("/")


def read_spec(**settings: Any) -> ModelSpec:
    """Return the specification with these settings; settings that are None keep their defaults.

    Raises:
        ModelError: Settings are invalid; the message names all of them.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        return ModelSpec.model_validate(given)
    except ValidationError as error:
        raise ModelError("\n".join(map(_describe, error.errors(include_url=False)))) from None


def _describe(problem: Any) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {name!r}{suggest_similar(name, list(ModelSpec.model_fields))}"
    rule = problem["msg"].removeprefix("Value error, ")
    # A URL may contain a password.
    shown = "" if not name or name == "base_url" else f" {problem['input']!r}"
    return f"{name}{shown}: {rule}" if name else rule
