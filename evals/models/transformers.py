"""A model in Transformers, in this process: loaded once, on the accelerator if there is one."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from evals.models.adapters import attach
from evals.models.base import Likelihood, Sampling
from evals.models.conventions import read_conventions
from evals.models.decode import Decoder
from evals.models.draws import completion_draws
from evals.models.folders import ModelFolders, locate, opening
from evals.models.local import LocalModel, PromptTokens, Written, describe_packages
from evals.models.spec import ModelSpec

_SCORED = 64
"""Pairs that are scored at a time: each holds the logits of all its places."""


class TransformersModel(LocalModel):
    """A model that Transformers loads; its prompts are read once for all their completions.

    Completion i of a prompt is drawn from the seed, the prompt and i alone: every token by inversion of a number that
    is keyed by them and by its position. Rounding aside, the same prompt gets the same completion in any batch. What a
    repository recommends for generation decides nothing but the ends of a turn.

    Args:
        model: A `PreTrainedModel`, or a `PeftModel` around one.
        tokenizer: Its tokenizer.
        spec: Template, batches and longest length.
        known: What is known of the weights, for the identity.

    Raises:
        ModelError: Its template cannot be rendered, or nothing ends a turn.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: ModelSpec, known: dict[str, Any]) -> None:
        conventions = read_conventions(spec.template, model.config, model.generation_config, tokenizer)
        positions = spec.max_length or getattr(model.config.get_text_config(), "max_position_embeddings", None)
        packages = describe_packages("torch", "transformers", *(["peft"] if "adapter" in known else []))
        dtype = str(model.dtype).removeprefix("torch.")
        known = {"backend": "hf", **known, "dtype": dtype, "packages": packages}
        super().__init__(tokenizer, conventions, spec, positions, known)
        self.model = model.eval()
        self._decoder = Decoder(model, conventions.ends, self._closed.is_set)

    @classmethod
    def open(cls, spec: ModelSpec) -> TransformersModel:
        """Load a model.

        Raises:
            ModelError: There is none, or it cannot be loaded.
        """
        place = locate(spec.model, spec.revision)
        with opening(spec.model), _quiet():
            model, tokenizer = _load(place, spec.dtype)
        return cls(model, tokenizer, spec, place.identity())

    def _batches(self, questions: Sequence[PromptTokens], n: int, sampling: Sampling) -> list[list[int]]:
        """Return the longest questions first, as many at a time as `batch_tokens` allow, at least one."""
        rows = sorted(range(len(questions)), key=lambda row: -len(questions[row].ids))
        batches = []
        while rows:
            longest = n * (len(questions[rows[0]].ids) + questions[rows[0]].limit)
            count = max(self.spec.batch_tokens // longest, 1)
            batches.append(rows[:count])
            rows = rows[count:]
        return batches

    def _continue(
        self, questions: Sequence[PromptTokens], n: int, sampling: Sampling, first: int
    ) -> list[list[Written]]:
        limits = [question.limit for question in questions]
        greedy = sampling.temperature == 0
        draws = None if greedy else completion_draws([each.key for each in questions], first, n, max(limits))
        return self._decoder.decode([each.ids for each in questions], limits, n, sampling, draws)

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Likelihood]:
        """Score as lm-eval's own class does, so that the figures are its figures."""
        from lm_eval.models.huggingface import HFLM

        with _quiet():
            lm: Any = HFLM(
                self.model,
                tokenizer=self.tokenizer,
                batch_size=self.spec.batch_size or _SCORED,
                max_length=self.positions,
            )
            scored = lm._loglikelihood_tokens([(None, *pair) for pair in pairs], disable_tqdm=True)
        return [Likelihood(float(logprob), bool(greedy)) for logprob, greedy in scored]

    def _free(self) -> None:
        self.model = self._decoder = None  # type: ignore[assignment]
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def own_device() -> str:
    """Return where this process computes: of several that train together each on its own GPU, in any of its threads.

    A thread's current GPU is the first one whatever the process has set elsewhere.
    """
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _load(place: ModelFolders, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Said in so many words: without them Transformers asks on a terminal whether to run a repository's code.
    tokenizer = AutoTokenizer.from_pretrained(place.tokenizer, padding_side="left", trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        place.model, dtype=dtype, device_map=own_device(), trust_remote_code=False
    )
    if place.adapter is None:
        return model, tokenizer
    return attach(model, place.adapter), tokenizer


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's advice and the bars of loading off the terminal."""
    from transformers.utils import logging as of_transformers

    bars: Any = of_transformers
    logger, had_bars = logging.getLogger("lm_eval"), bars.is_progress_bar_enabled()
    level = logger.level
    logger.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if had_bars:
            bars.enable_progress_bar()
