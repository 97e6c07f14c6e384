"""Request one chat completion over HTTP, through OpenAI's SDK, with checks that the SDK lacks.

The SDK retries 429, 408, 409, 5xx, timeouts and lost connections with jitter and honours Retry-After. It accepts any
body of a 200, of any size. `CheckedClient` reads a body up to a limit, and reports a body that is not a chat completion
as a lost connection, so that the SDK retries.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any, Literal

import httpx2
import openai
from pydantic import BaseModel, Field, ValidationError

from evals.key_names import match_escaped
from evals.models.base import ModelError
from evals.models.spec import ModelSpec

NO_KEY = "no-key-needed"
"""Sent if the environment has no key: the SDK requires one, a private server ignores it."""
_SHORTEST_KEY = 6
"""Minimum length of a key that is removed from texts: a shorter one protects nothing and may be a word."""
MAX_REPLY_BYTES = 16 * 2**20
_SHOWN = 300
REFUSED_KEY = frozenset({401, 403})
CUT = frozenset({"length", "max_tokens", "model_length"})
"""Servers' names for a reply that ends at the token limit."""
_PROBE_SECONDS = 10.0
"""Time limit for a probe, which checks whether the server responds."""
_PATIENCE_SECONDS = 30.0
"""Wait before a silent server is probed, and between probes."""
_SILENT_PROBES = 2
"""Unanswered probes in a row after which a server counts as hanging."""
_SLOWEST = 5.0
"""Tokens of a reply per second, for the default deadline; a slower server counts as hanging."""
_OVERHEAD_SECONDS = 30.0
"""Longest wait for the first token, in the default deadline."""

Failure = Literal["timeout", "error"]


class Message(BaseModel):
    """A model's message: its content, or its refusal."""

    content: str | None = None
    refusal: str | None = None


class Choice(BaseModel):
    """One of the n continuations."""

    message: Message
    finish_reason: str | None = None


class Details(BaseModel):
    """A part of the usage."""

    cached_tokens: int | None = Field(None, ge=0)


class TokenUsage(BaseModel):
    """Tokens of the whole call."""

    prompt_tokens: int | None = Field(None, ge=0)
    completion_tokens: int | None = Field(None, ge=0)
    prompt_tokens_details: Details | None = None


class ChatReply(BaseModel):
    """The parts of a chat completion that are used."""

    choices: list[Choice] = Field(min_length=1)
    usage: TokenUsage | None = None


class CallError(Exception):
    """A request has failed after all retries; `status` is the HTTP status, if any. The message contains no key."""

    def __init__(self, failure: Failure, status: int | None, message: str) -> None:
        super().__init__(message)
        self.failure = failure
        self.status = status
        self.message = message


class CheckedClient(httpx2.AsyncClient):
    """Reads replies up to `MAX_REPLY_BYTES`, and accepts a 200 only if it contains a chat completion.

    Attributes:
        heard: Time of the server's last response of any kind, by `time.monotonic`, in seconds.
    """

    heard = -math.inf

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request and return the complete reply.

        Raises:
            httpx2.RequestError: The reply is too long or is no chat completion, or httpx2 raises an error.
        """
        response = await super().send(request, **{**options, "stream": True})
        self.heard = time.monotonic()
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        if response.is_success:
            _check(body, request)
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_WIRE]
        return httpx2.Response(response.status_code, headers=headers, content=body, request=request)


_OF_THE_WIRE = frozenset({"content-encoding", "content-length", "transfer-encoding"})


async def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            raise httpx2.DecodingError(f"the reply is longer than {MAX_REPLY_BYTES} bytes", request=response.request)
    return bytes(body)


def _check(body: bytes, request: httpx2.Request) -> None:
    try:
        ChatReply.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, problem["loc"]))
        message = f"the reply is no chat completion: {place}{': ' if place else ''}{problem['msg']}"
        raise httpx2.DecodingError(message, request=request) from None


def compute_deadline(spec: ModelSpec, max_tokens: int) -> float:
    """Return the time limit for a request with its retries, in seconds; one attempt may take half of it.

    Without a setting it depends on the maximum length of a reply: twice the time at `_SLOWEST` tokens per second.

    Args:
        spec: The endpoint; its `body` may set a longer reply.
        max_tokens: Maximum number of tokens of a reply.
    """
    named = (spec.body.get(field) for field in ("max_tokens", "max_completion_tokens"))
    longest = max(max_tokens, *(limit for limit in named if isinstance(limit, int)), 0)
    return spec.deadline_seconds or 2 * (_OVERHEAD_SECONDS + longest / _SLOWEST)


class Breaker:
    """Stops sending requests to a failing server for a while, so that a run does not wait for each request to fail.

    It counts consecutive failures. At `failures` it opens, and no call passes until the cool-down is over. Then one
    call passes. Its success closes the breaker; otherwise the next call passes after another cool-down.
    """

    def __init__(self, failures: int, cool_down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._cool_down = cool_down
        self._clock = clock
        self._failed = 0
        self._shut_until = 0.0

    def passes(self) -> bool:
        """Return whether a call may be made now; after a cool-down, True is returned for one call only."""
        if self._failed < self._limit:
            return True
        if self._clock() < self._shut_until:
            return False
        self._shut_until = self._clock() + self._cool_down
        return True

    def succeeded(self) -> None:
        """Record a successful call."""
        self._failed = 0

    def failed(self) -> bool:
        """Record a failed call; return whether it opened the breaker."""
        self._failed += 1
        if self._failed < self._limit:
            return False
        self._shut_until = self._clock() + self._cool_down
        return self._failed == self._limit


class ChatClient:
    """Sends requests to one endpoint, each with its time limit.

    A long request continues while the server answers probes, and fails otherwise.
    """

    def __init__(self, spec: ModelSpec, key: str | None) -> None:
        self._spec, self._key = spec, key
        pool = httpx2.Limits(max_connections=spec.concurrency, max_keepalive_connections=spec.concurrency)
        self._http = CheckedClient(limits=pool)
        self._client = openai.AsyncOpenAI(
            api_key=key or NO_KEY,
            base_url=spec.base_url,
            max_retries=spec.max_retries,
            http_client=self._http,
        )

    async def complete(self, body: dict[str, Any], max_tokens: int) -> ChatReply:
        """Return the server's reply to a request.

        Raises:
            CallError: There is no reply after all retries.
        """
        deadline = compute_deadline(self._spec, max_tokens)
        try:
            async with asyncio.timeout(deadline):
                response = await self._send_watched(body, deadline / 2)
        except (TimeoutError, openai.APITimeoutError):
            message = f"no reply within {deadline:g} s (deadline_seconds)"
            raise self._make_error("timeout", None, message) from None
        except openai.APIStatusError as error:
            raise self._make_error("error", error.status_code, self._describe_refusal(error)) from None
        except openai.OpenAIError as error:
            cause = error.__cause__ or error
            message = f"{type(cause).__name__}: {cause}; is the server up and base_url right?"
            raise self._make_error("error", None, message) from None
        return self._clean(ChatReply.model_validate_json(response.content))

    def _clean(self, reply: ChatReply) -> ChatReply:
        """Remove the key from the server's texts before they are stored."""
        for choice in reply.choices:
            message = choice.message
            message.content, message.refusal = self._remove_key(message.content), self._remove_key(message.refusal)
            choice.finish_reason = self._remove_key(choice.finish_reason)
        return reply

    async def _send_watched(self, body: dict[str, Any], attempt: float) -> httpx2.Response:
        """Send a request and return the reply; fail if the server does not answer probes."""
        options: Any = {"timeout": attempt}
        sent = asyncio.ensure_future(
            self._client.post("/chat/completions", cast_to=httpx2.Response, body=body, options=options)
        )
        silence = asyncio.ensure_future(self._wait_for_silence())
        try:
            await asyncio.wait({sent, silence}, return_when=asyncio.FIRST_COMPLETED)
            if sent.done():
                return sent.result()
            message = f"the server has not answered {_SILENT_PROBES} probes in a row; it hangs"
            raise self._make_error("timeout", None, message)
        finally:
            sent.cancel()
            silence.cancel()
            await asyncio.gather(sent, silence, return_exceptions=True)

    async def _wait_for_silence(self) -> None:
        """Probe the server regularly; return after it has answered neither requests nor probes for some time."""
        silent = 0
        while silent < _SILENT_PROBES:
            began = time.monotonic()
            await asyncio.sleep(_PATIENCE_SECONDS)
            alive = self._http.heard > began or await _answers(str(self._spec.base_url))
            silent = 0 if alive else silent + 1

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _make_error(self, failure: Failure, status: int | None, message: str) -> CallError:
        return CallError(failure, status, self._remove_key(f"{self._spec.base_url}: {message}"))

    def _remove_key(self, text: str | None) -> str:
        """Return a text without the key, which a server or an error of the client may repeat, however it is escaped."""
        text = text or ""
        if self._key is None or len(self._key) < _SHORTEST_KEY:
            return text
        return match_escaped(self._key).sub("[key]", text)

    def _shorten(self, text: str) -> str:
        """Return the beginning of a server's message, cut after the key is removed."""
        return self._remove_key(text)[:_SHOWN]

    def _describe_refusal(self, error: openai.APIStatusError) -> str:
        status, variable = error.status_code, self._spec.api_key_env
        if status in REFUSED_KEY:
            return describe_refused_key(status, variable, self._key)
        reason = f"status {status}: {self._shorten(error.message)}"
        if status == 404:
            return f"{reason}; is model {self._spec.model!r} served there, and does base_url end where the API begins?"
        if 300 <= status < 400:
            return (
                f"{reason}; set base_url to where it leads: {self._shorten(error.response.headers.get('location', ''))}"
            )
        if status in {400, 413, 422}:
            return f"{reason}; see max_tokens, the other fields of the request, and the longest context of the server"
        return reason


def describe_refused_key(status: int, variable: str, key: str | None) -> str:
    """Return the message for a server that refuses the key in the environment variable."""
    state = "the server does not take the key in it" if key else "it is not set"
    return f"status {status}; the key is read from the environment variable {variable}: {state}"


async def _answers(base_url: str) -> bool:
    """Return whether a server answers at all, even with an error."""
    try:
        async with (
            asyncio.timeout(_PROBE_SECONDS),
            httpx2.AsyncClient(timeout=_PROBE_SECONDS) as client,
            client.stream("GET", f"{base_url}/models"),
        ):
            return True
    except (httpx2.HTTPError, TimeoutError):
        return False


def reach(spec: ModelSpec, key: str | None) -> None:
    """Check that the endpoint responds, even with an error, as it need not support this route.

    Raises:
        ModelError: Nothing responds, or the key is rejected.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx2.stream("GET", f"{spec.base_url}/models", headers=headers, timeout=_PROBE_SECONDS) as response:
            status = response.status_code
    except httpx2.HTTPError as error:
        raise ModelError(
            f"nothing answers at {spec.base_url} ({type(error).__name__}: {error}); start the server, or set base_url "
            "to where its API begins, as in http://127.0.0.1:8000/v1"
        ) from None
    if status in REFUSED_KEY:
        raise ModelError(f"{spec.base_url}: {describe_refused_key(status, spec.api_key_env, key)}")
