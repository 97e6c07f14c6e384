"""What a language model is asked and what it answers: the interface of all backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

End = Literal["stop", "length", "refusal", "filter", "timeout", "error"]
"""Why a completion ends: its end token, the limit on tokens, the model's refusal, a server's filter, or a failure."""

FAILED = frozenset({"filter", "timeout", "error"})
"""Ends of which the model is not the cause: such a completion is no answer of it."""


@dataclass(frozen=True)
class Usage:
    """The cost of one completion. The cost of a call with several completions is split among them.

    Attributes:
        prompt_tokens: Tokens that the model read.
        cached_tokens: Those of them that it had read before and kept.
        output_tokens: Tokens that it wrote, the end token included.
        seconds: Wall time of the call that brought it, the same for all completions of one call.
        money: Price of the call's tokens, in the currency of the prices given; 0 where none is given.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0


@dataclass(frozen=True)
class Completion:
    """One completion of one prompt.

    Attributes:
        text: Decoded without special tokens; of one that failed, what is known of the failure.
        end: Why it ends.
        usage: What it cost.
    """

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
    """How completions are sampled.

    Attributes:
        temperature: 0 takes the most likely token.
        top_p: Share of the probability that is sampled from.
        max_tokens: Longest completion.
    """

    temperature: float
    top_p: float
    max_tokens: int

    def greedily(self) -> Sampling:
        """Return the sampling that draws nothing, with the same longest completion."""
        return Sampling(0.0, 1.0, self.max_tokens)


class Model(Protocol):
    """A language model. A prompt that fails gets completions whose `end` says why, and leaves the other prompts alone.

    Attributes:
        eager: Whether prompts are best asked one by one, as soon as each is known (an endpoint that batches by
            itself), rather than together (a model in this process).
        positions: Longest prompt and completion together in tokens; None where that is not known, or without limit.
        batch: Completions that it is best asked for at a time.
    """

    eager: bool
    positions: int | None
    batch: int

    def prompt(self, text: str) -> str:
        """Return what the model reads: a text in the model's template."""
        ...

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Check before any work that the model can take these prompts, as far as that can be known.

        Raises:
            ModelError: A prompt with its completion is too long, nothing answers, or a key is not taken.
        """
        ...

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        """Return exactly n completions of each prompt, in order.

        Completion i of a prompt is drawn from the seed, the prompt and i alone (`evals.models.draws`), as nearly as the
        machine allows: not from the other prompts, nor from n.

        Args:
            prompts: What `prompt` returned.
            n: How many completions of each.
            sampling: How they are drawn.
            seed: Of the draws.
            first: Index of the first of them.
        """
        ...

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of a rendered text; with the tokenizer's beginning and end if `special`.

        Raises:
            ModelError: The model's tokens are not known here (an endpoint of chats).
        """
        ...

    def prefix(self) -> int:
        """Return the token that stands before a text without a context.

        Raises:
            ModelError: The model's tokens are not known here.
        """
        ...

    def score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Likelihood]:
        """Return the likelihood of each continuation, given (context, continuation) in tokens, in order.

        Raises:
            ModelError: The model cannot tell (an endpoint of chats), or a pair is too long for it.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """Return what decides its answers: weights or revision, backend, dtype, template, ends of a turn, packages."""
        ...

    async def close(self) -> None:
        """Free what it holds; calls in flight end early."""
        ...


class ModelError(Exception):
    """A model cannot be opened or cannot do what a task needs. The message says what to do."""
