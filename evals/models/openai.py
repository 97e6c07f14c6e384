"""Use a model behind an OpenAI-compatible endpoint: n completions in one request if the server supports it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evals.models.base import Completion, End, Likelihood, ModelError, Sampling, Usage
from evals.models.chat import CUT, Breaker, CallError, ChatClient, ChatReply, Choice, TokenUsage, reach
from evals.models.draws import draw_seed
from evals.models.local import split_usage
from evals.models.prompt import INSTRUCTION, Template, hash_template
from evals.models.spec import ModelSpec, Price, read_key

log = logging.getLogger(__name__)

_N_REFUSED = frozenset({400, 422})
_ANSWERED = frozenset({400, 413, 422})
"""HTTP statuses that concern a single request: the endpoint itself works."""
_BROKEN_OFF: dict[str | None, End] = {"abort": "error", "error": "error", "content_filter": "filter"}
"""Finish reasons with which a server ends a reply before the model does."""
_MOST_TOKENS = 2**40
"""A larger count of tokens is an error of the server."""


@dataclass(frozen=True)
class Reply:
    """The result of one request: the server's completions, at most n, or a failure.

    Attributes:
        completions: Completions in the order of the choices; for a failed request, n completions with the failure.
        status: HTTP status of a failure, if there is one.
    """

    completions: list[Completion]
    status: int | None = None
    failed: bool = False


class EndpointModel:
    """Requests chat completions from a server.

    Completion i of a prompt has the seed ``draw_seed(seed, prompt) + i``. vLLM adds the index of a choice to the seed
    of the request, so n completions of one request equal those of n requests. If a server rejects or ignores n, each
    completion gets its own request.

    Args:
        spec: The model and its endpoint. The processes of one training share its `concurrency`.
        key: The endpoint's secret; None if there is none.
    """

    eager = True
    positions = None

    def __init__(self, spec: ModelSpec, key: str | None) -> None:
        self._spec, self._key = spec, key
        self.batch, self._client = spec.batch, ChatClient(spec, key)
        self._template: Template = "chat" if spec.template == "auto" else spec.template
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        self._slots = asyncio.Semaphore(max(spec.concurrency // processes, 1))
        self._breaker = Breaker(spec.breaker.failures, spec.breaker.cool_down_seconds)
        self._one_by_one = False
        self._logged: set[tuple[str, int | None]] = set()
        self._last_failure = ""

    @classmethod
    def open(cls, spec: ModelSpec) -> EndpointModel:
        """Return the model with the key in the environment.

        Raises:
            ModelError: The key in the environment cannot be sent.
        """
        try:
            return cls(spec, read_key(spec.api_key_env))
        except ValueError as error:
            raise ModelError(str(error)) from None

    def prompt(self, text: str) -> str:
        """Return the user's message; the endpoint adds the model's chat template."""
        return INSTRUCTION + text if self._template == "chat" else text

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Check that the endpoint responds; its model's maximum length is unknown here.

        Raises:
            ModelError: Nothing responds, or the key is rejected.
        """
        reach(self._spec, self._key)

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        """Return exactly n completions of each prompt, in order; a failed one contains the reason."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._complete_sampled(prompt, first, n, sampling, draw_seed(seed, prompt))
                    if sampling.temperature
                    else self._complete_greedily(prompt, n, sampling)
                )
                for prompt in prompts
            ]
        return [task.result() for task in tasks]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Raise `ModelError`: chat endpoints provide no likelihoods."""
        raise ModelError(
            "an endpoint of chat completions gives no likelihoods of given answers; "
            "use backend hf or vllm, or tasks that generate"
        )

    def identity(self) -> dict[str, Any]:
        """Return what is known of the model: its name, and the settings of its requests."""
        return {
            "backend": "openai",
            "model": self._spec.model,
            "template": self._template,
            "template_hash": hash_template(self._template, None),
            "body": self._spec.body,
        }

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _complete_greedily(self, prompt: str, n: int, sampling: Sampling) -> list[Completion]:
        """Request one completion and split its cost, because at temperature 0 all n are equal."""
        (completion,) = (await self._send_request(prompt, 1, sampling.max_tokens, temperature=0.0)).completions
        return [Completion(completion.text, completion.end, usage) for usage in split_usage(completion.usage, n)]

    async def _complete_sampled(
        self, prompt: str, first: int, n: int, sampling: Sampling, seed: int
    ) -> list[Completion]:
        async def draw(begin: int, count: int) -> Reply:
            drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed + begin}
            return await self._send_request(prompt, count, sampling.max_tokens, **drawn)

        async def draw_singly(begin: int, count: int) -> list[Completion]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(draw(begin + place, 1)) for place in range(count)]
            return [completion for task in tasks for completion in task.result().completions]

        if n == 1 or self._one_by_one:
            return await draw_singly(first, n)
        outcome = await draw(first, n)
        if outcome.status in _N_REFUSED:  # the server may have rejected n
            single = await draw(first, 1)
            if single.failed:
                return outcome.completions
            self._one_by_one = True
            return single.completions + await draw_singly(first + 1, n - 1)
        if (got := len(outcome.completions)) == n:
            return outcome.completions
        log.info("%s gave %d of %d choices; it is asked for one at a time", self._spec.base_url, got, n)
        self._one_by_one = True
        return outcome.completions + await draw_singly(first + got, n - got)

    async def _send_request(self, prompt: str, n: int, max_tokens: int, **drawn: Any) -> Reply:
        # Lone surrogates, from damaged data, cannot be sent.
        message = {"role": "user", "content": prompt.encode("utf-8", "replace").decode()}
        body = {"model": self._spec.model, "messages": [message], "max_tokens": max_tokens, **drawn}
        body |= {"n": n} if n > 1 else {}
        body |= self._spec.body
        async with self._slots:
            return await self._send({field: value for field, value in body.items() if value is not None}, n, max_tokens)

    async def _send(self, body: dict[str, Any], n: int, max_tokens: int) -> Reply:
        if not self._breaker.passes():
            return Reply([Completion(f"not asked after {self._last_failure}", "error")] * n, failed=True)
        began = time.perf_counter()
        try:
            reply = await self._client.complete(body, max_tokens)
        except CallError as error:
            self._note(error)
            usage = Usage(seconds=time.perf_counter() - began)
            return Reply([Completion(error.message, error.failure, usage)] * n, error.status, failed=True)
        self._breaker.succeeded()
        return Reply(_make_completions(reply, n, time.perf_counter() - began, self._spec.price))

    def _note(self, error: CallError) -> None:
        """Record a failure; the first of its kind is logged as a warning."""
        self._last_failure = error.message
        kind = (error.failure, error.status)
        log.log(logging.DEBUG if kind in self._logged else logging.WARNING, "a request failed: %s", error.message)
        self._logged.add(kind)
        if error.status in _ANSWERED:
            self._breaker.succeeded()
        elif self._breaker.failed():
            breaker = self._spec.breaker
            log.warning(
                "%d requests in a row failed; none is sent for %g s, then one tries again: %s",
                breaker.failures, breaker.cool_down_seconds, error.message,
            )  # fmt: skip


def _make_completions(reply: ChatReply, n: int, seconds: float, price: Price | None) -> list[Completion]:
    choices = reply.choices[:n]
    usage = _make_usage(reply.usage or TokenUsage(), seconds, price)
    return [
        _make_completion(choice, part) for choice, part in zip(choices, split_usage(usage, len(choices)), strict=True)
    ]


def _make_completion(choice: Choice, usage: Usage) -> Completion:
    message, reason = choice.message, choice.finish_reason
    if message.refusal:
        return Completion(message.refusal, "refusal", usage)
    if reason in _BROKEN_OFF:
        return Completion(f"the endpoint broke the reply off: {reason}", _BROKEN_OFF[reason], usage)
    return Completion(message.content or "", "length" if reason in CUT else "stop", usage)


def _make_usage(tokens: TokenUsage, seconds: float, price: Price | None) -> Usage:
    prompt, output = _count(tokens.prompt_tokens), _count(tokens.completion_tokens)
    details = tokens.prompt_tokens_details
    cached = min(prompt, _count(details.cached_tokens)) if details else 0
    money = 0.0
    if price is not None:
        money = ((prompt - cached) * price.prompt + cached * price.cached + output * price.output) / 1e6
    return Usage(prompt, cached, output, seconds, money)


def _count(tokens: int | None) -> int:
    """Return a number of tokens; 0 if the server reports none, or an impossible number."""
    if tokens is not None and tokens > _MOST_TOKENS:
        log.warning("the endpoint counts more than %d tokens in one request; the count is dropped", _MOST_TOKENS)
        return 0
    return tokens or 0
