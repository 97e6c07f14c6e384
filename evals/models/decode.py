"""Sample several completions of many prompts from a causal language model, and compute shared text only once.

A row of the batch is the text so far of one or more completions. A prompt is computed once, and its completions share
its row until their tokens differ; then each continues in a copy of the row. If prompts have a common prefix, as in a
group of rollouts, the prefix is computed once.

Tokens are sampled by inversion from numbers that the caller passes. Therefore a completion is a function of its prompt
and its own numbers, independent of the rest of the batch (except for rounding).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from evals.models.base import Sampling
from evals.models.local import Written


@dataclass(frozen=True)
class Decoder:
    """A model with its end tokens.

    Attributes:
        model: A causal language model in evaluation mode.
        stopped: Called after each position; if it returns True, all completions end there.
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
            prompts: Token ids of each prompt, at least one.
            limits: Maximum number of tokens to generate for each prompt, at least 1.
            n: Number of completions of each prompt.
            sampling: Temperature (above 0 if there are uniforms) and top-p.
            uniforms: Numbers in [0, 1) of shape (prompts, n, longest limit), one for each token; None for greedy
                decoding.
        """
        draws = None if uniforms is None else torch.from_numpy(uniforms).flatten(0, 1).to(self.model.device)
        written = _Batch(self, prompts, limits, n).write(sampling, draws)
        ended = [Written(tokens, tokens[-1] in self.ends) for tokens in written]
        return [ended[start : start + n] for start in range(0, len(ended), n)]


def choose(logits: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor) -> torch.Tensor:
    """Return k tokens of each distribution, shape (distributions, k); a token with probability 0 is never chosen.

    Args:
        logits: Shape (distributions, vocabulary).
        sampling: Temperature, above 0, and top-p.
        uniforms: Numbers in [0, 1), shape (distributions, k).
    """
    shares, order = (logits.double() / sampling.temperature).softmax(-1), None
    if sampling.top_p < 1:
        shares, order = shares.sort(dim=-1, descending=True, stable=True)
        shares = shares.where(shares.cumsum(-1) - shares < sampling.top_p, 0.0)
    sums = shares.cumsum(-1)
    # For any number below 1, the product is below the total, in 64-bit arithmetic too.
    places = torch.searchsorted(sums, uniforms * sums[:, -1:], right=True)
    return places if order is None else order.gather(-1, places)


class _Batch:
    """One batch during decoding: rows of text and a cache."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Sequence[int]], limits: Sequence[int], n: int) -> None:
        self._decoder, self._model = decoder, decoder.model
        self._device: torch.device = decoder.model.device
        self._limits, self._n = limits, n
        rows, positions = n * len(prompts), max(map(len, prompts)) + max(limits)
        self._cache = make_cache(decoder.model, rows, positions)
        self._seen = torch.ones(rows, positions, dtype=torch.bool, device=self._device)
        # Rows are padded after the shared text; a layer with a sliding window would count the padding.
        sharing = all(isinstance(layer, RoomyLayer) for layer in self._cache.layers)
        self._logits = self._read(prompts, count_shared(prompts) if sharing else 0)

    def write(self, sampling: Sampling, draws: torch.Tensor | None) -> list[list[int]]:
        """Return n completions' tokens per prompt, sampled with `draws` (completions, longest limit) or greedily."""
        n, limits = self._n, self._limits
        most = torch.tensor(limits, device=self._device).repeat_interleave(n)
        tokens = torch.zeros(len(most), max(limits), dtype=torch.long, device=self._device)
        lengths = torch.zeros_like(most)
        ends = torch.tensor(sorted(self._decoder.ends), device=self._device)
        going = torch.arange(len(most), device=self._device)
        rows = going // n
        for step in range(max(limits)):
            chosen = self._choose(going % n, rows, sampling, None if draws is None else draws[going, step])
            tokens[going, step] = chosen
            lengths[going] += 1
            alive = ~(torch.isin(chosen, ends) | (most[going] == step + 1))
            going, rows, chosen = going[alive], rows[alive], chosen[alive]
            if not len(going) or self._decoder.stopped():
                break
            rows = self._advance(rows, chosen, step)
        pairs = zip(tokens.tolist(), lengths.tolist(), strict=True)
        return [row[:length] for row, length in pairs]

    def _choose(
        self, numbers: torch.Tensor, rows: torch.Tensor, sampling: Sampling, uniforms: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the next token of each completion, given its number within its prompt and its row."""
        if uniforms is None:
            return self._logits.argmax(-1)[rows]
        table = uniforms.new_zeros(len(self._logits), self._n)
        table[rows, numbers] = uniforms
        return choose(self._logits, sampling, table)[rows, numbers]

    def _read(self, prompts: Sequence[Sequence[int]], shared: int) -> torch.Tensor:
        """Fill the cache with one row per prompt, `shared` tokens once; return logits, shape (rows, vocabulary)."""
        rest = [prompt[shared:] for prompt in prompts]
        width = max(map(len, rest))
        pads = torch.tensor([width - len(row) for row in rest], device=self._device)
        ids = torch.tensor([[row[0]] * (width - len(row)) + list(row) for row in rest], device=self._device)
        places = torch.arange(width, device=self._device)
        self._seen[: len(rest), shared : shared + width] = places >= pads[:, None]
        self._next = shared + width - pads
        if shared:
            begins = [tuple(prompt[:shared]) for prompt in prompts]
            rows = {begin: row for row, begin in enumerate(dict.fromkeys(begins))}
            begun = torch.tensor(list(rows), device=self._device)
            self._model(input_ids=begun, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            self._cache.batch_select_indices(torch.tensor([rows[begin] for begin in begins], device=self._device))
        return self._pass(ids, shared + (places - pads[:, None]).clamp(min=0))

    def _advance(self, rows: torch.Tensor, chosen: torch.Tensor, step: int) -> torch.Tensor:
        """Append the chosen tokens to rows, shape (completions,) each; return each completion's new row."""
        vocabulary = self._logits.shape[-1]
        texts, text = torch.unique(rows * vocabulary + chosen, return_inverse=True)
        place = place_texts(texts // vocabulary)
        sources, fed = torch.empty_like(texts), torch.empty_like(texts)
        sources[place], fed[place] = texts // vocabulary, texts % vocabulary
        if len(sources) != len(self._next) or not sources.equal(torch.arange(len(sources), device=self._device)):
            self._cache.batch_select_indices(sources)
            self._seen[: len(sources)], self._next = self._seen[sources], self._next[sources]
        self._logits = self._pass(fed[:, None], (self._next + step)[:, None])
        return place[text]

    def _pass(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        end = self._cache.get_seq_length() + ids.shape[1]
        logits: torch.Tensor = self._model(
            input_ids=ids,
            attention_mask=self._seen[: len(ids), :end].long(),
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits


def place_texts(sources: torch.Tensor) -> torch.Tensor:
    """Return the row of each text so that few rows move: the first text of a row stays, the others fill free rows.

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


def count_shared(prompts: Sequence[Sequence[int]]) -> int:
    """Return the length of the prefix to compute once per distinct prefix, so that the fewest tokens are computed.

    It is shorter than the shortest prompt, because each prompt needs at least one remaining token.
    """
    longest, beginnings = max(map(len, prompts)), [0] * len(prompts)
    best = len(prompts) * longest, 0
    for shared in range(1, min(map(len, prompts))):
        numbers: dict[tuple[int, int], int] = {}
        pairs = ((beginning, prompt[shared - 1]) for beginning, prompt in zip(beginnings, prompts, strict=True))
        beginnings = [numbers.setdefault(pair, len(numbers)) for pair in pairs]
        best = min(best, (shared * len(numbers) + len(prompts) * (longest - shared), shared))
    return best[1] if len(prompts) > 1 else 0


def make_cache(model: Any, rows: int, positions: int) -> Cache:
    """Return an empty cache; a layer that attends to all positions has storage for so many rows and positions."""
    cache = DynamicCache(config=model.config)
    layers = [RoomyLayer(rows, positions) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return Cache(layers=layers)


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with preallocated storage for rows and positions: a new position copies none of its content."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, rows: int, positions: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._size = rows, positions
        self._room: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values of shape (rows, heads, new, size); return all of them."""
        if not self._room:
            self.lazy_initialization(key_states, value_states)
            self._room = [self._make_room(new) for new in (key_states, value_states)]
        rows, kept = len(key_states), self.get_seq_length()
        end = kept + key_states.shape[-2]
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:rows, :, kept:end] = new
        self._show(rows, end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Make row i a copy of row `indices[i]`; only rows that change are copied."""
        if not self._room:
            return
        rows, end = len(indices), self.get_seq_length()
        moved = (indices != torch.arange(rows, device=indices.device)).nonzero().squeeze(1)
        for room in self._room:
            room[moved, :, :end] = room[indices[moved], :, :end]
        self._show(rows, end)

    def _make_room(self, states: torch.Tensor) -> torch.Tensor:
        rows, positions = self._size
        return states.new_empty(rows, states.shape[1], positions, states.shape[-1])

    def _show(self, rows: int, end: int) -> None:
        self.keys, self.values = (room[:rows, :, :end] for room in self._room)
