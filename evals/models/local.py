"""Share the code of all models in this process: one call at a time, prompts as tokens, limits, identity."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from evals.models.base import Completion, Likelihood, ModelError, Sampling, Usage
from evals.models.conventions import Conventions
from evals.models.draws import draw_key, draw_seed
from evals.models.prompt import encode, render
from evals.models.spec import ModelSpec

log = logging.getLogger(__name__)


@contextmanager
def hide_hints() -> Iterator[None]:
    """Hide lm-eval's hints for task authors."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class PromptTokens:
    """A prompt that fits the model: its tokens, a completion's token limit, and the key and seed of its sampling."""

    ids: list[int]
    limit: int
    key: bytes
    seed: int


@dataclass(frozen=True)
class Written:
    """A completion in tokens, whether it ends with an end token, and the number of cached prompt tokens."""

    ids: Sequence[int]
    ended: bool
    cached: int = 0


class LocalModel:
    """A model in this process; a subclass defines how it continues and scores tokens, and how it is freed."""

    eager = False

    def __init__(
        self, tokenizer: Any, conventions: Conventions, spec: ModelSpec, positions: int | None, settings: dict[str, Any]
    ) -> None:
        self.tokenizer, self.conventions, self.positions = tokenizer, conventions, positions
        self.spec, self.batch = spec, spec.batch
        self._identity = {**settings, **conventions.identity(tokenizer)}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def prompt(self, text: str) -> str:
        """Return a text in the model's template."""
        return render(text, self.conventions.template, self.tokenizer)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Return the tokens of a rendered text; with the tokenizer's beginning and end tokens if `special`."""
        return encode(text, self.tokenizer, special=special)

    def identity(self) -> dict[str, Any]:
        """Return what determines the model's answers."""
        return self._identity

    def check(self, prompts: Sequence[str], sampling: Sampling) -> None:
        """Raise `ModelError` if a prompt with its completion is too long for the model."""
        longest = max((len(self.encode(prompt)) for prompt in dict.fromkeys(prompts)), default=0)
        if self.positions is None or longest + sampling.max_tokens <= self.positions:
            return
        room = self.positions - longest
        way_out = f"lower max_tokens to {room}" if room > 0 else "leave the task out"
        raise ModelError(
            f"a prompt of {longest} tokens and a completion of {sampling.max_tokens} (max_tokens) do not fit the "
            f"{self.positions} tokens of the model; {way_out}, or set max_length if the model takes more"
        )

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        """Return n completions of each prompt; a prompt that the model cannot process gets failures."""
        return await asyncio.to_thread(self._complete, prompts, n, sampling, seed, first)

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
        """Return the likelihood of each continuation; a text without context that is too long is scored in windows.

        Raises:
            ModelError: A pair with a context is too long for the model.
        """
        split = [self._split(*pair) for pair in pairs]
        longest = max((len(context) + len(continuation) for row in split for context, continuation in row), default=0)
        if self.positions is not None and longest >= self.positions:  # vLLM generates one more token
            raise ModelError(
                f"a context with its continuation has {longest} tokens and the model takes {self.positions - 1}; "
                "set max_length if it takes more, or leave the task out"
            )
        with self._lock:
            scored = iter(self._score([part for row in split for part in row]) if split else [])
        return [_join([next(scored) for _ in row]) for row in split]

    def _split(self, context: str, continuation: str) -> list[tuple[list[int], list[int]]]:
        """Return a context and its continuation in tokens; as in lm-eval, spaces between them go to the latter."""
        if not context:
            return self._split_whole(self.encode(continuation, special=False))
        bare = context.rstrip()
        whole, read = self.encode(context + continuation), self.encode(bare)
        return [(read, whole[len(read) :])]

    def _split_whole(self, tokens: list[int]) -> list[tuple[list[int], list[int]]]:
        """Return a text without context after a text's first token; if it is long, in lm-eval's windows."""
        ids = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, *sorted(self.conventions.ends))
        first = next(int(token) for token in ids if token is not None)
        if self.positions is not None and len(tokens) > self.positions - 2:
            from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

            windows = get_rolling_token_windows(tokens, first, self.positions - 2, 1)
            return [(list(context), list(rest)) for context, rest in map(make_disjoint_window, windows)]
        return [([first], tokens) if tokens[:1] != [first] else (tokens[:1], tokens[1:])]

    async def close(self) -> None:
        """End the running call, and free the model."""
        self._closed.set()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            self._free()

    def _continue(
        self, questions: Sequence[PromptTokens], n: int, sampling: Sampling, first: int
    ) -> list[list[Written]]:
        """Return n completions of each question in tokens; errors of the backend are raised."""
        raise NotImplementedError

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Likelihood]:
        raise NotImplementedError

    def _free(self) -> None:
        raise NotImplementedError

    def _batches(self, questions: Sequence[PromptTokens], n: int, sampling: Sampling) -> list[list[int]]:
        """Return the indices of the questions of each batch; a failure affects only its batch."""
        return [list(range(len(questions)))]

    def _complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, seed: int, first: int
    ) -> list[list[Completion]]:
        with self._lock:
            asked = [self._make_question(prompt, sampling, seed) for prompt in prompts]
            places = [place for place, question in enumerate(asked) if isinstance(question, PromptTokens)]
            rows = [[question] * n if isinstance(question, Completion) else [] for question in asked]
            questions = [question for question in asked if isinstance(question, PromptTokens)]
            for batch in self._batches(questions, n, sampling):
                answers = self._answer([questions[place] for place in batch], n, sampling, first)
                for place, row in zip(batch, answers, strict=True):
                    rows[places[place]] = row
            return rows

    def _make_question(self, prompt: str, sampling: Sampling, seed: int) -> PromptTokens | Completion:
        """Return a prompt as a question; a failure if it is empty or leaves no room for a completion."""
        ids = self.encode(prompt)
        room = sampling.max_tokens if self.positions is None else min(sampling.max_tokens, self.positions - len(ids))
        if ids and room >= 1:
            return PromptTokens(ids, room, draw_key(seed, prompt), draw_seed(seed, prompt))
        return Completion(f"a prompt of {len(ids)} tokens does not fit the model's {self.positions} positions", "error")

    def _answer(
        self, questions: Sequence[PromptTokens], n: int, sampling: Sampling, first: int
    ) -> list[list[Completion]]:
        began = time.perf_counter()
        drawn = n if sampling.temperature else 1  # greedy completions are all equal
        try:
            rows = [] if self._closed.is_set() else self._continue(questions, drawn, sampling, first)
        except Exception as error:
            log.exception("the model failed on a batch of %d prompts; their completions fail", len(questions))
            return [[Completion(f"{type(error).__name__}: {error}", "error")] * n for _ in questions]
        if self._closed.is_set():  # closing truncated them
            return [[Completion("the model was closed", "error")] * n for _ in questions]
        seconds = time.perf_counter() - began
        return [
            self._make_completions(question, row, n, first, seconds)
            for question, row in zip(questions, rows, strict=True)
        ]

    def _make_completions(
        self, question: PromptTokens, row: Sequence[Written], n: int, first: int, seconds: float
    ) -> list[Completion]:
        """Return a prompt's completions; its prompt tokens count for completion 0 only.

        Therefore k completions cost the same in any number of calls.
        """
        read = [len(question.ids) if first + place == 0 else 0 for place in range(len(row))]
        decode = cache(self._decode)  # critiques of one solution are often equal
        completions = [
            Completion(
                decode(tuple(written.ids[:-1] if written.ended else written.ids)),
                "stop" if written.ended else "length",
                Usage(tokens, written.cached if tokens else 0, len(written.ids), seconds),
            )
            for written, tokens in zip(row, read, strict=True)
        ]
        if len(completions) == n:
            return completions
        return [replace(completions[0], usage=part) for part in split_usage(completions[0].usage, n)]

    def _decode(self, ids: tuple[int, ...]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _join(windows: Sequence[Likelihood]) -> Likelihood:
    return Likelihood(sum(each.logprob for each in windows), all(each.greedy for each in windows))


def split_usage(usage: Usage, n: int) -> list[Usage]:
    """Split a call's tokens and money into n parts that sum to them; each part has the call's seconds."""
    return [
        Usage(
            _take_part(usage.prompt_tokens, n, place),
            _take_part(usage.cached_tokens, n, place),
            _take_part(usage.output_tokens, n, place),
            usage.seconds,
            usage.money / n,
        )
        for place in range(n)
    ]


def _take_part(whole: int, n: int, place: int) -> int:
    return whole // n + (place < whole % n)


def describe_packages(*names: str) -> dict[str, str]:
    """Return the versions of the packages that affect answers."""
    return {name: version(name) for name in names}
