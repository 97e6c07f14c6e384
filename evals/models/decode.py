"""Sample several completions of many prompts from a causal language model, reading equal text once.

A row of the batch is the text so far of one or more completions. A prompt is read once, and its completions share its
row until their tokens differ; then each goes on in a copy of the row. A common beginning of all prompts of a batch is
read once for the batch.

Tokens are drawn by inversion from numbers that the caller gives, so that a completion is a function of its prompt and
its own numbers, whatever else is in the batch (as far as rounding goes).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evals.models.base import Sampling
from evals.models.kv_cache import RoomyLayer, make_cache
from evals.models.local import Written


@dataclass(frozen=True)
class Decoder:
    """A model with its end tokens.

    Attributes:
        model: A causal language model in evaluation mode.
        ends: Tokens that end a completion.
        stopped: Called after each position; True cuts all completions there.
    """

    model: Any
    ends: Collection[int]
    stopped: Callable[[], bool] = lambda: False

    @torch.inference_mode()
    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        n: int,
        sampling: Sampling,
        uniforms: npt.NDArray[np.float64] | None,
    ) -> list[list[Written]]:
        """Return n completions of each prompt.

        Args:
            prompts: Tokens, at least one of each prompt.
            limits: Most tokens to write after each prompt, at least 1.
            n: Completions of each.
            sampling: Temperature (above 0 if there are uniforms) and top-p.
            uniforms: Numbers in [0, 1) of shape (prompts, n, longest limit), one for each token; None is greedy.
        """
        draws = None if uniforms is None else torch.from_numpy(uniforms).flatten(0, 1).to(self.model.device)
        written = _Batch(self, prompts).write(limits, n, sampling, draws)
        ended = [Written(tokens, tokens[-1] in self.ends) for tokens in written]
        return [ended[start : start + n] for start in range(0, len(ended), n)]


def choose(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor | None) -> torch.Tensor:
    """Return the token of each distribution.

    Args:
        logits: Shape (..., vocabulary).
        sampling: Temperature and top-p.
        uniforms: Numbers in [0, 1), shape (...); None takes the most likely token.
    """
    if uniforms is None:
        return logits.argmax(-1)
    shares = (logits.double() / sampling.temperature).softmax(-1)
    if sampling.top_p == 1:
        return _invert(shares, uniforms)
    shares, order = shares.sort(dim=-1, descending=True, stable=True)
    before = shares.cumsum(-1) - shares
    place = _invert(shares.where(before < sampling.top_p, 0.0), uniforms)
    return order.gather(-1, place.unsqueeze(-1)).squeeze(-1)


def _invert(shares: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Return where the cumulative shares first exceed the numbers; a share of 0 is never taken."""
    sums = shares.cumsum(-1)
    # Below the total for any number below 1, in the arithmetic of 64-bit floats too.
    return torch.searchsorted(sums, (uniforms * sums[..., -1]).unsqueeze(-1), right=True).squeeze(-1)


class _Batch:
    """One batch as it is decoded: rows of text over a cache.

    Args:
        decoder: The model and its rules.
        prompts: Tokens of each prompt.
    """

    def __init__(self, decoder: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        self._decoder, self._model = decoder, decoder.model
        self._device: torch.device = decoder.model.device
        self._cache = make_cache(decoder.model)
        # A row is padded after the shared text; a layer with a sliding window would count the padding.
        sharing = all(isinstance(layer, RoomyLayer) for layer in self._cache.layers)
        self._logits = self._read(prompts, _count_common(prompts) if sharing else 0)

    def write(self, limits: Sequence[int], n: int, sampling: Sampling, draws: torch.Tensor | None) -> list[list[int]]:
        """Return the tokens of n completions of each prompt, with end tokens, prompt by prompt.

        Args:
            limits: Most tokens of each prompt's completions.
            n: Completions of each.
            sampling: Settings of the draws.
            draws: Shape (completions, longest limit), or None.
        """
        most = torch.tensor(limits, device=self._device).repeat_interleave(n)
        tokens = torch.zeros(len(most), max(limits), dtype=torch.long, device=self._device)
        lengths = torch.zeros_like(most)
        ends = torch.tensor(sorted(self._decoder.ends), device=self._device)
        going = torch.arange(len(most), device=self._device)
        rows = going // n
        for step in range(max(limits)):
            chosen = choose(self._logits[rows], sampling, None if draws is None else draws[going, step])
            tokens[going, step] = chosen
            lengths[going] += 1
            alive = ~(torch.isin(chosen, ends) | (most[going] == step + 1))
            going, rows, chosen = going[alive], rows[alive], chosen[alive]
            if not len(going) or self._decoder.stopped():
                break
            rows = self._advance(rows, chosen, step)
        pairs = zip(tokens.tolist(), lengths.tolist(), strict=True)
        return [row[:length] for row, length in pairs]

    def _read(self, prompts: Sequence[Sequence[int]], shared: int) -> torch.Tensor:
        """Fill the cache, a row a prompt; return the logits after the prompts, shape (rows, vocabulary).

        Args:
            prompts: Tokens of each prompt.
            shared: Tokens that all of them begin with, which are read once.
        """
        rest = [prompt[shared:] for prompt in prompts]
        width = max(map(len, rest))
        pads = torch.tensor([width - len(row) for row in rest], device=self._device)
        ids = torch.tensor([[row[0]] * (width - len(row)) + list(row) for row in rest], device=self._device)
        places = torch.arange(width, device=self._device)
        self._seen = places >= pads[:, None]
        self._next = shared + width - pads
        if shared:
            begin = torch.tensor([prompts[0][:shared]], device=self._device)
            self._model(input_ids=begin, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            self._cache.batch_repeat_interleave(len(rest))
            self._seen = torch.cat([self._seen.new_ones(len(rest), shared), self._seen], 1)
        return self._pass(ids, shared + (places - pads[:, None]).clamp(min=0))

    def _advance(self, rows: torch.Tensor, chosen: torch.Tensor, step: int) -> torch.Tensor:
        """Feed each row the tokens that were chosen after it; return each completion's new row.

        Args:
            rows: Each completion's row, shape (completions,).
            chosen: Its token, of the same shape.
            step: Position of the tokens in the completions.
        """
        vocabulary = self._logits.shape[-1]
        texts, text = torch.unique(rows * vocabulary + chosen, return_inverse=True)
        place = place_texts(texts // vocabulary)
        sources, fed = torch.empty_like(texts), torch.empty_like(texts)
        sources[place], fed[place] = texts // vocabulary, texts % vocabulary
        if len(sources) != len(self._next) or not sources.equal(torch.arange(len(sources), device=self._device)):
            self._cache.batch_select_indices(sources)
            self._seen, self._next = self._seen[sources], self._next[sources]
        self._seen = torch.nn.functional.pad(self._seen, (0, 1), value=True)
        self._logits = self._pass(fed[:, None], (self._next + step)[:, None])
        return place[text]

    def _pass(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=self._seen.long(),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits


def place_texts(sources: torch.Tensor) -> torch.Tensor:
    """Return the row of each text so that few rows move: the first text of a row stays there, the others fill up.

    Args:
        sources: The rows that the texts continue, in ascending order, shape (texts,).
    """
    count = len(sources)
    stays = torch.ones_like(sources, dtype=torch.bool)
    stays[1:] = sources[1:] != sources[:-1]
    stays &= sources < count
    free = torch.ones_like(stays)
    free[sources[stays]] = False
    place = sources.clone()
    place[~stays] = free.nonzero().squeeze(1)
    return place


def _count_common(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, less than the shortest has; 0 for a single prompt."""
    if len(prompts) == 1:
        return 0
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False))
    return min(sum(1 for _ in alike), min(map(len, prompts)) - 1)
