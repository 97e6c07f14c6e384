"""Any model as an lm-eval model: one thin class, for tasks of likelihoods here and for lm-eval's `simple_evaluate`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from evals.models.base import Completion, Likelihood, Model, ModelError, Sampling

_MAX_TOKENS = 256
"""Longest completion if a task sets none, as in lm-eval."""

_Asked = tuple[str, Sampling, tuple[str, ...]]  # prompt, sampling, stop strings


class HarnessLM(TemplateLM):  # type: ignore[misc]
    """A model with the interface of lm-eval.

    Args:
        model: The model.
        seed: Seed of the draws, if a task samples.
    """

    backend = "causal"

    def __init__(self, model: Model, seed: int = 0) -> None:
        super().__init__()
        self._model, self._seed = model, seed
        self._runner = asyncio.Runner()  # one for all calls: an endpoint's connections live in its event loop

    @property
    def eot_token_id(self) -> int:
        """Return the token that stands before a text without a context."""
        return self._model.prefix()

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the tokens of a text."""
        return self._model.encode(string, special=add_special_tokens is not False)

    def _loglikelihood_tokens(self, requests: Sequence[Any], disable_tqdm: bool = False, **_: Any) -> Any:
        pairs = [(list(context), list(continuation)) for _, context, continuation in requests]
        return [(each.logprob, each.greedy) for each in self._model.score(pairs)]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of whole texts; a text too long for the model is scored in windows."""
        return [self._score_whole(request.args[0]) for request in requests]

    def _score_whole(self, text: str) -> float:
        tokens = self._model.encode(text, special=False)
        longest = (self._model.positions or len(tokens) + 2) - 2
        windows = get_rolling_token_windows(tokens, self.prefix_token_id, longest, 1)
        pairs = [(list(context), list(rest)) for context, rest in map(make_disjoint_window, windows)]
        return sum(each.logprob for each in self._model.score(pairs))

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return a completion of each request, cut at the task's stop strings; equal requests are drawn independently.

        Raises:
            ModelError: A completion failed: lm-eval has no value for a missing answer.
        """
        places: dict[_Asked, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(_read(*request.args), []).append(place)
        texts = [""] * len(requests)
        for (sampling, n), asked in _group(places).items():
            rows = self._runner.run(
                self._model.complete([prompt for prompt, _, _ in asked], n, sampling, seed=self._seed)
            )
            for question, row in zip(asked, rows, strict=True):
                for place, completion in zip(places[question], row, strict=True):
                    texts[place] = _cut(completion, question[2])
        return texts


def score_pairs(model: Model, pairs: Sequence[tuple[str, str]]) -> list[Likelihood]:
    """Return the likelihood of each continuation, given (context, continuation), in lm-eval's way of cutting tokens.

    Raises:
        ModelError: The model gives no likelihoods, or a pair is too long for it.
    """
    requests = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(pairs)]
    return [Likelihood(*each) for each in HarnessLM(model).loglikelihood(requests, disable_tqdm=True)]


def _group(places: Mapping[_Asked, Sequence[int]]) -> dict[tuple[Sampling, int], list[_Asked]]:
    """Group the requests that can be asked in one call, by sampling and number of completions."""
    groups: dict[tuple[Sampling, int], list[_Asked]] = {}
    for asked, where in places.items():
        groups.setdefault((asked[1], len(where)), []).append(asked)
    return groups


def _read(prompt: str, settings: Mapping[str, Any]) -> _Asked:
    until = settings.get("until") or ()
    sampled = settings.get("do_sample", settings.get("temperature", 0.0) > 0)
    sampling = Sampling(
        float(settings.get("temperature", 1.0)) if sampled else 0.0,
        float(settings.get("top_p", 1.0)),
        int(settings.get("max_gen_toks", _MAX_TOKENS)),
    )
    return prompt, sampling, (until,) if isinstance(until, str) else tuple(until)


def _cut(completion: Completion, until: Sequence[str]) -> str:
    if completion.failed:
        raise ModelError(f"a completion failed: {completion.text}")
    text = completion.text
    for stop in until:
        text = text.split(stop)[0] if stop else text
    return text
