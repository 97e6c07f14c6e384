"""What the backends that run a model in this process share: which model, its thread, and what it is asked in tokens."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from trainers.critics.backend import Reply
from trainers.critics.base import EmbeddedCriticConfig, Surroundings
from trainers.critics.language import LanguageParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EMBEDDED = "embedded"
POLICY = "policy"

log = logging.getLogger(__name__)


class LocalParams(LanguageParams):
    """Settings of a critic whose model runs in this process.

    Attributes:
        model: ``embedded`` (the tiny critic that the harness trains), ``policy`` (the model that training starts from,
            which stays as it is), a repository id or a local folder.
        revision: Pinned revision of the repository.
        dtype: Precision of the weights.
        embedded: How the embedded critic is taught; without effect for any other model.
    """

    model: str = EMBEDDED
    revision: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    embedded: EmbeddedCriticConfig = EmbeddedCriticConfig()

    MACHINE: ClassVar[frozenset[str]] = frozenset()
    """Settings of where and how fast the model runs, which decide nothing of what it says."""

    @model_validator(mode="after")
    def _revision_of_a_repository(self) -> LocalParams:
        if self.revision is not None and self.model in {EMBEDDED, POLICY}:
            owner = "has none" if self.model == EMBEDDED else "has that of the backbone"
            raise ValueError(
                f"revision {self.revision!r} is set but the model is {self.model!r}, which {owner}; "
                "set model to a repository id, or leave revision out"
            )
        return self

    @property
    def embedded_critic(self) -> EmbeddedCriticConfig | None:
        """How the embedded critic is trained; None for any other model."""
        return self.embedded if self.model == EMBEDDED else None

    @property
    def asks_policy(self) -> bool:
        """Whether the critic is the policy as its training starts."""
        return self.model == POLICY

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide what the critic says; of weights in a local folder, only the name."""
        left_out = self.MACHINE if self.embedded_critic else self.MACHINE | {"embedded"}
        return {name: value for name, value in super().identity().items() if name not in left_out}

    @property
    def size_known(self) -> bool:
        """Whether the model can be counted, or the settings say how large it is."""
        found = self.embedded_critic is not None or self.asks_policy or Path(self.model).is_dir()
        return found or super().size_known

    def size(self, surroundings: Surroundings) -> int | None:
        """Return the parameters of the model's files where they are in a folder, else what the settings say."""
        folder = surroundings.embedded if self.embedded_critic is not None else Path(self.model)
        return parameters_in(folder) if folder is not None and folder.is_dir() else super().size(surroundings)

    def source(self, surroundings: Surroundings) -> str:
        """Return the folder or repository id that the model is loaded from.

        Raises:
            ValueError: The model is the embedded one and the surroundings hold none; or it is the policy, which only
                a trial has.
        """
        if self.asks_policy:
            raise ValueError(
                f"critic {self.name!r} asks for the policy that a trial starts from, and this is no trial; "
                "set critic.model to that model: its repository id or its folder"
            )
        if self.embedded_critic is None:
            return self.model
        if surroundings.embedded is None:
            raise ValueError(
                f"critic {self.name!r} asks for the embedded model but none was trained; "
                "train it first, or set critic.model to a repository id or a folder"
            )
        return str(surroundings.embedded)


def parameters_in(folder: Path) -> int | None:
    """Return how many numbers the safetensors files of a folder hold, by their headers; None without one."""
    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            total += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total or None


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the tokens of a prompt: a user's message in the model's chat template, or plain text without one.

    A template writes its special tokens itself, so the tokenizer adds none to it: no beginning stands there twice.
    """
    text = _disarm(tokenizer, prompt)
    if tokenizer.chat_template is None:
        return list(tokenizer(text)["input_ids"])
    message = [{"role": "user", "content": text}]
    rendered = str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def _disarm(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """Return the prompt without special tokens: a solution that spells the end of a turn must not end the turn."""
    for token in tokenizer.added_tokens_decoder.values():
        if token.special and len(token.content) > 1:
            prompt = prompt.replace(token.content, f"{token.content[0]} {token.content[1:]}")
    return prompt


@dataclass(frozen=True)
class Question:
    """A prompt that fits the model.

    Attributes:
        ids: Its tokens.
        limit: Most tokens of a reply, at least 1.
        key: What the draws of all replies to it are keyed by: the seed and the prompt's text.
    """

    ids: list[int]
    limit: int
    key: bytes


class LocalBackend:
    """A model in this process: loaded on the first call, calls worked off one after the other on a thread.

    Subclasses say how it is loaded, asked and freed.

    Args:
        params: The settings.
        source: Folder or repository id of the model.
    """

    eager = False

    def __init__(self, params: LocalParams, source: str) -> None:
        self._params, self._source = params, source
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._tokenizer: Any = None
        self._positions: int | None = None
        self._warned = False

    async def complete(
        self, prompts: Sequence[str], n: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Reply]]:
        """Return n replies to each prompt; those that the model cannot take or compute fail with ``error``.

        Raises:
            OSError, ImportError, ValueError: The model cannot be loaded.
        """
        return await asyncio.to_thread(self._complete, prompts, n, first, greedy)

    async def close(self) -> None:
        """Wait for what runs, and free the model."""
        self._closed.set()
        await asyncio.to_thread(self._close)

    def _load(self) -> tuple[Any, int | None]:
        """Load the model; return its tokenizer and how many positions it has, None if that is without limit."""
        raise NotImplementedError

    def _answer(self, questions: Sequence[Question], n: int, first: int, greedy: bool) -> list[list[Reply]]:
        """Return n replies to each question."""
        raise NotImplementedError

    def _free(self) -> None:
        """Free the model."""
        raise NotImplementedError

    def _complete(self, prompts: Sequence[str], n: int, first: int, greedy: bool) -> list[list[Reply]]:
        with self._lock:
            if self._closed.is_set():
                return [failures(n) for _ in prompts]
            if self._tokenizer is None:
                self._tokenizer, self._positions = self._load()
            questions = [self._question(prompt) for prompt in prompts]
            asked = [question for question in questions if question is not None]
            replies = iter(self._answer(asked, n, first, greedy) if asked else [])
            return [failures(n) if question is None else next(replies) for question in questions]

    def _close(self) -> None:
        with self._lock:
            if self._tokenizer is not None:
                self._tokenizer = None
                self._free()

    def _question(self, prompt: str) -> Question | None:
        """Return the question that a prompt is; None if it leaves no room for a reply, or is no token."""
        ids = prompt_ids(self._tokenizer, prompt)
        most = self._params.max_tokens
        limit = most if self._positions is None else min(most, self._positions - len(ids))
        if ids and limit >= 1:
            return Question(ids, limit, draw_key(self._params.seed, prompt))
        if not self._warned:
            log.warning("a prompt of %d tokens does not fit the critic's %s positions", len(ids), self._positions)
            self._warned = True
        return None


def failures(n: int) -> list[Reply]:
    """Return n replies that did not come about."""
    return [Reply("", failure="error")] * n


def draw_key(seed: int, prompt: str) -> bytes:
    """Return what the draws of all replies to one prompt are keyed by."""
    return hashlib.sha256(seed.to_bytes(8, "little") + prompt.encode("utf-8", "surrogatepass")).digest()
