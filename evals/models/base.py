"""Define the interface of all backends of language models: requests and completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

End = Literal["stop", "length", "refusal", "filter", "timeout", "error"]
"""Why a completion ends: end token, token limit, refusal by the model, filter of a server, or a failure."""

FAILED = frozenset({"filter", "timeout", "error"})
"""Ends that the model does not cause: the completion is then not an answer of the model."""


@dataclass(frozen=True)
class Usage:
    """The cost of one completion. The cost of a call with several completions is split among them.

    Attributes:
        cached_tokens: Number of the prompt tokens that the backend had cached from an earlier call.
        output_tokens: Number of generated tokens, including the end token.
        seconds: Wall time of the call, the same for all its completions.
        money: Price of the tokens, in the currency of the given prices; 0 without prices.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0


@dataclass(frozen=True)
class Completion:
    """One completion of one prompt, decoded without special tokens; if it failed, `text` is the reason."""

    text: str
    end: End = "stop"
    usage: Usage = Usage()

    @property
    def failed(self) -> bool:
        """Whether the completion is not an answer of the model."""
        return self.end in FAILED


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of a continuation under a model.

    Attributes:
        logprob: Log-probability of the whole continuation, in nats.
        greedy: Whether the continuation is the most likely one, token by token.
    """

    logprob: float
    greedy: bool


@dataclass(frozen=True)
class Sampling:
    """Sampling settings.

    Attributes:
        temperature: Sampling temperature; 0 takes the most likely token.
        top_p: Share of the probability mass: only the most likely tokens with this share are sampled.
    """

    temperature: float
    top_p: float
    max_tokens: int

    def greedily(self) -> Sampling:
        """Return greedy sampling with the same maximum number of tokens."""
        return Sampling(0.0, 1.0, self.max_tokens)


class Model(Protocol):
    """A language model.

    If a prompt fails, the `end` of its completions gives the reason; other prompts are not affected.

    Attributes:
        eager: Whether to send single prompts as soon as they exist (for an endpoint that batches by itself), or all
            prompts together (for a model in this process).
        positions: Maximum length of prompt and completion together in tokens; None if unknown or unlimited.
        batch: Best number of completions per call.
    """

    eager: bool
    positions: int | None
    batch: int

    def prompt(self, text: str) -> str:
        """Return the prompt: a text in the model's template."""
        ...

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Check, as far as possible, that the model can process these prompts, before any work.

        Raises:
            ModelError: A prompt with its completion is too long, the endpoint does not respond, or a key is rejected.
        """
        ...

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        """Return exactly n completions of each prompt, in order.

        Completion i of a prompt depends on the seed, the prompt and i (`evals.models.draws`). It does not depend on the
        other prompts or on n, as far as the hardware's arithmetic allows.

        Args:
            prompts: Prompts that `prompt` returned.
            n: Number of completions of each prompt.
            sampling: Sampling settings.
            seed: Seed of the sampling.
            first: Index of the first completion.
        """
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Return the likelihood of each continuation, given (context, continuation), in order.

        Raises:
            ModelError: The model provides no likelihoods (a chat endpoint), or a pair is too long for it.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return what determines its answers: weights or revision, backend, dtype, template, end tokens, packages."""
        ...

    async def close(self) -> None:
        """Free its resources; running calls end early."""
        ...


class ModelError(Exception):
    """A model cannot be opened or does not support what a task needs. The message gives the way out."""
