"""Questions to a language model and its answers: the interface of all backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

End = Literal["stop", "length", "refusal", "filter", "timeout", "error"]
"""Why a completion ends: its end token, the limit on tokens, the model's refusal, a server's filter, or a failure."""

FAILED = frozenset({"filter", "timeout", "error"})
"""Ends that the model does not cause: such a completion is no answer of it."""


@dataclass(frozen=True)
class Usage:
    """The cost of one completion. The cost of a call with several completions is split among them.

    Attributes:
        cached_tokens: Those of them that it had kept from an earlier call.
        output_tokens: Tokens that it wrote, the end token included.
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
    """One completion of one prompt, decoded without special tokens; of a failed one the text is the reason."""

    text: str
    end: End = "stop"
    usage: Usage = Usage()

    @property
    def failed(self) -> bool:
        """Whether the model gave no answer."""
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
    """Settings of the sampling.

    Attributes:
        temperature: 0 takes the most likely token.
        top_p: Only the likeliest tokens with this share of the probability are sampled.
    """

    temperature: float
    top_p: float
    max_tokens: int

    def greedily(self) -> Sampling:
        """Return greedy sampling with the same longest completion."""
        return Sampling(0.0, 1.0, self.max_tokens)


class Model(Protocol):
    """A language model. A prompt that fails gets completions whose `end` says why, and leaves the other prompts alone.

    Attributes:
        eager: Whether prompts are best sent one by one, as soon as they exist (an endpoint that batches by itself), or
            together (a model in this process).
        positions: Longest prompt and completion together in tokens; None if unknown or without limit.
        batch: Best number of completions in one call.
    """

    eager: bool
    positions: int | None
    batch: int

    def prompt(self, text: str) -> str:
        """Return the prompt: a text in the model's template."""
        ...

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Check before any work that the model can take these prompts, as far as possible.

        Raises:
            ModelError: A prompt with its completion is too long, nothing answers, or a key is refused.
        """
        ...

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        """Return exactly n completions of each prompt, in order.

        Completion i of a prompt depends on the seed, the prompt and i (`evals.models.draws`), and not on the other
        prompts or on n, as far as the machine's arithmetic allows.

        Args:
            prompts: Prompts that `prompt` returned.
            n: Completions of each.
            sampling: Settings of the draws.
            seed: Seed of the draws.
            first: Index of the first completion.
        """
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Return the likelihood of each continuation, given (context, continuation), in order.

        Raises:
            ModelError: The model gives no likelihoods (a chat endpoint), or a pair is too long for it.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return all that decides its answers: weights or revision, backend, dtype, template, end tokens, packages."""
        ...

    async def close(self) -> None:
        """Free its resources; running calls end early."""
        ...


class ModelError(Exception):
    """A model cannot be opened or cannot do what a task needs. The message says what to do."""
