"""Run a model in Transformers in this process: it is loaded once, on the GPU if there is one."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from evals.models.adapters import attach
from evals.models.base import Likelihood, Sampling
from evals.models.conventions import read_conventions
from evals.models.decode import Decoder
from evals.models.draws import draw_numbers
from evals.models.folders import ModelFolders, convert_errors, locate
from evals.models.local import LocalModel, PromptTokens, Written, describe_packages, hide_hints
from evals.models.spec import ModelSpec

_SCORED = 64
"""Number of pairs that are scored at a time: each needs memory for the logits of all its positions."""


class TransformersModel(LocalModel):
    """A model that Transformers loads; a prompt is computed once for all its completions.

    Completion i of a prompt depends only on the seed, the prompt and i: together with the position, they determine the
    random number of each token. Except for rounding, a prompt gets the same completion in any batch. Of a repository's
    generation settings, only the end tokens are used.

    Raises:
        ModelError: Its template cannot be rendered, or there is no end token.
    """

    def __init__(self, model: Any, tokenizer: Any, spec: ModelSpec, settings: dict[str, Any]) -> None:
        conventions = read_conventions(spec.template, model.config, model.generation_config, tokenizer)
        positions = spec.max_length or getattr(model.config.get_text_config(), "max_position_embeddings", None)
        packages = describe_packages("torch", "transformers", *(["peft"] if "adapter" in settings else []))
        dtype = str(model.dtype).removeprefix("torch.")
        settings = {"backend": "hf", **settings, "dtype": dtype, "packages": packages}
        super().__init__(tokenizer, conventions, spec, positions, settings)
        self.model = model.eval()
        self._decoder = Decoder(model, conventions.ends, self._closed.is_set)

    @classmethod
    def open(cls, spec: ModelSpec) -> TransformersModel:
        """Load a model.

        Raises:
            ModelError: There is no model, or it cannot be loaded.
        """
        place = locate(spec.model, spec.revision)
        with convert_errors(spec.model), _silence():
            model, tokenizer = _load(place, spec.dtype)
        return cls(model, tokenizer, spec, place.identity())

    def _batches(self, questions: Sequence[PromptTokens], n: int, sampling: Sampling) -> list[list[int]]:
        """Return batches of questions, the longest first; a batch fits `batch_tokens` or has one question."""
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
        draws = None if greedy else draw_numbers([each.key for each in questions], first, n, max(limits))
        return self._decoder.decode([each.ids for each in questions], limits, n, sampling, draws)

    def _score(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Likelihood]:
        """Score with lm-eval's own class, so that the results equal lm-eval's."""
        from lm_eval.models.huggingface import HFLM

        with _silence():
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


def find_device() -> str:
    """Return this process's device; processes that train together each have their own GPU.

    The device is named explicitly, because in a new thread the current GPU is the first one.
    """
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def _load(place: ModelFolders, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Explicitly False, because otherwise Transformers asks on a terminal whether to run a repository's code.
    tokenizer = AutoTokenizer.from_pretrained(place.tokenizer, padding_side="left", trust_remote_code=False)
    model: Any = AutoModelForCausalLM.from_pretrained(
        place.model, dtype=dtype, device_map=find_device(), trust_remote_code=False
    )
    if place.adapter is None:
        return model, tokenizer
    return attach(model, place.adapter), tokenizer


@contextmanager
def _silence() -> Iterator[None]:
    """Hide lm-eval's hints and the loading progress bars."""
    from transformers.utils import logging as of_transformers

    bars: Any = of_transformers
    had_bars = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with hide_hints():
            yield
    finally:
        if had_bars:
            bars.enable_progress_bar()
