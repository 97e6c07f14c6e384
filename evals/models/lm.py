"""Make any model usable in lm-eval: one thin class for its `simple_evaluate`, and so for all of its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from evals.models.base import Completion, Model, ModelError, Sampling

_MAX_TOKENS = 256
"""Maximum completion length in tokens if a task sets none, as in lm-eval."""

_Asked = tuple[str, Sampling, tuple[str, ...]]  # prompt, sampling, stop strings


class HarnessLM(LM):  # type: ignore[misc]
    """A model with the interface of lm-eval."""

    def __init__(self, model: Model, seed: int = 0) -> None:
        super().__init__()
        self._model, self._seed = model, seed
        self._runner = asyncio.Runner()  # one for all calls: an endpoint's connections live in its event loop

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether it is the most likely one.

        Raises:
            ModelError: The model provides no likelihoods, or a pair is too long for it.
        """
        likelihoods = self._model.score([request.args for request in requests])
        return [(likelihood.logprob, likelihood.greedy) for likelihood in likelihoods]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of whole texts; a text that is too long for the model is scored in windows.

        Raises:
            ModelError: The model provides no likelihoods, or a text is too long for it.
        """
        return [each.logprob for each in self._model.score([("", request.args[0]) for request in requests])]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return a completion of each request, cut at the task's stop strings; equal requests get independent samples.

        Raises:
            ModelError: A completion failed, because lm-eval has no value for a missing answer.
        """
        places: dict[_Asked, list[int]] = {}
        for place, request in enumerate(requests):
            places.setdefault(_read(*request.args), []).append(place)
        texts = [""] * len(requests)
        alike: dict[tuple[Sampling, int], list[_Asked]] = {}
        for asked, equal in places.items():
            alike.setdefault((asked[1], len(equal)), []).append(asked)
        for (sampling, n), group in alike.items():
            call = self._model.complete([prompt for prompt, *_ in group], n, sampling, seed=self._seed)
            for asked, row in zip(group, self._runner.run(call), strict=True):
                for place, completion in zip(places[asked], row, strict=True):
                    texts[place] = _cut(completion, asked[2])
        return texts


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
