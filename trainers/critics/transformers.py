"""A critic's language model through Transformers, in this process: loaded once, on the accelerator if there is one."""

from __future__ import annotations

import gc
import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from evals.config import Positive
from trainers.credit.critique import Usage
from trainers.critics.backend import Reply
from trainers.critics.base import Critic, Surroundings
from trainers.critics.language import LanguageCritic
from trainers.critics.local import LocalBackend, LocalParams, Question, failures

if TYPE_CHECKING:
    from trainers.critics.decode import Continuation, Decoder

log = logging.getLogger(__name__)


class TransformersBackend(LocalBackend):
    """Samples from a model that Transformers loads.

    Reply i to a prompt is drawn from the seed, the prompt's text and i alone: every token by inversion of a number that
    is keyed by them and by its position. Rounding aside, the same prompt gets the same reply in any batch.

    Args:
        params: The settings.
        source: Folder or repository id of the model.
    """

    def __init__(self, params: TransformersParams, source: str) -> None:
        super().__init__(params, source)
        self._batch_tokens = params.batch_tokens
        self._decoder: Decoder | None = None

    def _load(self) -> tuple[Any, int | None]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from trainers.critics.decode import Decoder

        params = self._params
        tokenizer = AutoTokenizer.from_pretrained(self._source, revision=params.revision, trust_remote_code=False)
        dtype = getattr(torch, params.dtype)
        model: Any = AutoModelForCausalLM.from_pretrained(
            self._source, revision=params.revision, dtype=dtype, trust_remote_code=False
        )
        model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        ends = _end_tokens(model.generation_config.eos_token_id, tokenizer.eos_token_id)
        self._decoder = Decoder(model, ends, params.temperature, params.top_p, self._closed.is_set)
        return tokenizer, getattr(model.config.get_text_config(), "max_position_embeddings", None)

    def _free(self) -> None:
        import torch

        self._decoder = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _answer(self, questions: Sequence[Question], n: int, first: int, greedy: bool) -> list[list[Reply]]:
        replies = [failures(n) for _ in questions]
        for rows in self._batches(questions, n):
            batch = self._batch([questions[row] for row in rows], n, first, greedy)
            if self._closed.is_set():  # which has cut them short
                break
            for row, answers in zip(rows, batch, strict=True):
                replies[row] = answers
        return replies

    def _batches(self, questions: Sequence[Question], n: int) -> Iterator[list[int]]:
        """Yield the questions of each batch: the longest first, as many as `batch_tokens` allow, at least one."""
        rows = sorted(range(len(questions)), key=lambda row: -len(questions[row].ids))
        while rows:
            longest = len(questions[rows[0]].ids) + n * self._params.max_tokens
            count = max(self._batch_tokens // longest, 1)
            yield rows[:count]
            rows = rows[count:]

    def _batch(self, questions: Sequence[Question], n: int, first: int, greedy: bool) -> list[list[Reply]]:
        began = time.perf_counter()
        try:
            assert self._decoder is not None
            ids, limits = [each.ids for each in questions], [each.limit for each in questions]
            draws = None if greedy else reply_draws([each.key for each in questions], first, n, max(limits))
            continued = self._decoder.decode(ids, limits, n, draws)
        except Exception:
            log.exception("the critic's model failed on a batch of %d prompts; their replies fail", len(questions))
            return [failures(n) for _ in questions]
        seconds = time.perf_counter() - began
        return [
            [self._reply(each, 0 if first + place else len(row), seconds) for place, each in enumerate(branches)]
            for row, branches in zip(ids, continued, strict=True)
        ]

    def _reply(self, continuation: Continuation, prompt_tokens: int, seconds: float) -> Reply:
        """Return a reply. Its prompt is told with reply 0: k of them cost the same however they are asked for."""
        text = self._tokenizer.decode(continuation.tokens, skip_special_tokens=True)
        usage = Usage(prompt_tokens=prompt_tokens, output_tokens=continuation.written, seconds=seconds)
        return Reply(text, truncated=continuation.cut, usage=usage)


def reply_draws(keys: Sequence[bytes], first: int, n: int, length: int) -> npt.NDArray[np.float64]:
    """Return the numbers that the tokens are drawn by, shape (keys, n, length): one reply's rest on no other's."""
    return np.stack([[uniform_draws(key, first + place, length) for place in range(n)] for key in keys])


def uniform_draws(key: bytes, index: int, count: int) -> npt.NDArray[np.float64]:
    """Return the numbers in [0, 1) that the tokens of reply `index` are drawn by; fewer are the first of more."""
    raw = hashlib.shake_256(key + index.to_bytes(4, "little")).digest(8 * count)
    # The upper 53 bits, so that every value is an exact float below 1.
    return (np.frombuffer(raw, dtype="<u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _end_tokens(*named: int | list[int] | None) -> frozenset[int]:
    """Return all tokens that end a reply, by the model's generation settings and by its tokenizer."""
    each = [[ends] if isinstance(ends, int) else ends or [] for ends in named]
    return frozenset(token for tokens in each for token in tokens)


class TransformersParams(LocalParams):
    """Settings of a critic that runs through Transformers.

    Attributes:
        batch_tokens: Most tokens, prompts and the longest replies together, that are held at once.
    """

    name: Literal["transformers"] = "transformers"
    batch_tokens: Positive = 65536

    MACHINE: ClassVar[frozenset[str]] = frozenset({"batch_tokens"})

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic; its model is loaded when it is first asked.

        Raises:
            ValueError: The model is nowhere to be found: see `source`.
        """
        return LanguageCritic(TransformersBackend(self, self.source(surroundings)), self.reference)
