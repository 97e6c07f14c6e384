"""Continuing many prompts several times over with a causal language model, reading each prompt once.

The completions of one prompt are branches of one row: at each position a row's branches are fed together as that many
queries, and the attention mask shows each branch the prompt and its own past. So the prompt's keys and values are held
and read once for all of them. What all prompts of a batch begin with is read once for the batch.

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
from evals.models.kv_cache import new_cache
from evals.models.local import Written

BRANCHES = 8
"""Most branches of one row. Every branch looks over its siblings' past in vain, so that more of them pay less."""

COMPACT_BELOW = 0.75
"""Ended rows are dropped when fewer than this share are alive: dropping copies what stays."""


@dataclass(frozen=True)
class Decoder:
    """A model with what ends its completions.

    Attributes:
        model: A causal language model in evaluation mode.
        ends: Tokens that end a completion.
        stopped: Asked after each position; true cuts all completions there.
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
            n: How many completions of each.
            sampling: Temperature, which is above 0 where there are numbers, and top-p.
            uniforms: Numbers in [0, 1) of shape (prompts, n, longest limit), one for each token; None is greedy.
        """
        batch = _Batch(self, prompts, n, sampling)
        most = torch.tensor(limits, device=batch.device).repeat_interleave(batch.copies)
        written = batch.write(most, None if uniforms is None else torch.from_numpy(uniforms))
        return [[Written(tokens, tokens[-1] in self.ends) for tokens in rows] for rows in written]


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
    """One batch as it is decoded: rows of branches over a cache.

    Args:
        decoder: The model and its rules.
        prompts: Tokens of each prompt.
        n: Completions of each.
        sampling: How they are drawn.
    """

    def __init__(self, decoder: Decoder, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling) -> None:
        self._decoder, self._model, self._sampling = decoder, decoder.model, sampling
        self.device: torch.device = decoder.model.device
        self._prompts, self._n = prompts, n
        self._cache, branching = new_cache(decoder.model)
        self.copies = -(-n // BRANCHES) if branching else n
        self._branches = -(-n // self.copies)
        self._logits = self._read_prompts(shared=_common(prompts) if branching else 0)

    def write(self, most: torch.Tensor, uniforms: torch.Tensor | None) -> list[list[list[int]]]:
        """Return the tokens written, with end tokens: n completions of each prompt.

        Args:
            most: Most tokens of each row's completions, shape (rows,).
            uniforms: Shape (prompts, n, longest limit), or None.
        """
        longest = int(most.max())
        rows = torch.arange(len(most), device=self.device)
        spare = self.copies * self._branches - self._n
        draws = None if uniforms is None else self._in_rows(uniforms, spare)
        tokens = torch.zeros(len(most), self._branches, longest, dtype=torch.long, device=self.device)
        lengths = torch.zeros(len(most), self._branches, dtype=torch.long, device=self.device)
        done = torch.zeros_like(lengths, dtype=torch.bool)
        if spare:
            done[self.copies - 1 :: self.copies, self._branches - spare :] = True
        ends = torch.tensor(sorted(self._decoder.ends), device=self.device)
        for step in range(longest):
            chosen = choose(self._logits, self._sampling, None if draws is None else draws[rows, :, step])
            tokens[rows, :, step] = chosen
            lengths[rows] += ~done
            done |= torch.isin(chosen, ends) | (most[rows, None] == step + 1)
            alive = ~done.all(1)
            count = int(alive.sum())
            if not count or self._decoder.stopped():
                break
            if count < COMPACT_BELOW * len(rows):
                rows, chosen, done = rows[alive], chosen[alive], done[alive]
                self._keep(alive)
            self._advance(chosen, step)
        return self._by_prompt(tokens.cpu(), lengths.cpu())

    def _in_rows(self, uniforms: torch.Tensor, spare: int) -> torch.Tensor:
        padded = torch.nn.functional.pad(uniforms.to(self.device), (0, 0, 0, spare))
        return padded.reshape(-1, self._branches, uniforms.shape[-1])

    def _by_prompt(self, tokens: torch.Tensor, lengths: torch.Tensor) -> list[list[list[int]]]:
        count = self.copies * self._branches
        pairs = zip(tokens.reshape(-1, count, tokens.shape[-1]), lengths.reshape(-1, count), strict=True)
        return [
            [row[:length].tolist() for row, length in zip(rows[: self._n], sizes.tolist(), strict=False)]
            for rows, sizes in pairs
        ]

    def _read_prompts(self, shared: int) -> torch.Tensor:
        """Fill the cache; return the logits after the prompts, shape (rows, branches, vocabulary)."""
        rest = [prompt[shared:] for prompt in self._prompts]
        width = max(map(len, rest))
        pads = torch.tensor([width - len(row) for row in rest], device=self.device)
        ids = torch.tensor([[row[0]] * (width - len(row)) + list(row) for row in rest], device=self.device)
        places = torch.arange(width, device=self.device)
        seen = places >= pads[:, None]
        if shared:
            begin = torch.tensor([self._prompts[0][:shared]], device=self.device)
            self._model(input_ids=begin, past_key_values=self._cache, use_cache=True, logits_to_keep=1)
            self._cache.batch_repeat_interleave(len(rest))
            seen = torch.cat([seen.new_ones(len(rest), shared), seen], 1)
        output = self._model(
            input_ids=ids,
            attention_mask=seen.long(),
            position_ids=shared + (places - pads[:, None]).clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        if self.copies > 1:
            self._cache.batch_repeat_interleave(self.copies)
        self._seen = seen.repeat_interleave(self.copies, 0)
        self._next = (shared + width - pads).repeat_interleave(self.copies)
        logits: torch.Tensor = output.logits[:, -1:].repeat_interleave(self.copies, 0)
        return logits.expand(-1, self._branches, -1)

    def _keep(self, alive: torch.Tensor) -> None:
        self._cache.batch_select_indices(alive.nonzero().squeeze(1))
        self._seen, self._next = self._seen[alive], self._next[alive]

    def _advance(self, chosen: torch.Tensor, step: int) -> None:
        """Feed one token of each branch; the logits after it replace those before."""
        self._logits = self._model(
            input_ids=chosen,
            attention_mask=self._mask(step),
            position_ids=(self._next + step)[:, None].expand(chosen.shape),
            past_key_values=self._cache,
            use_cache=True,
        ).logits

    def _mask(self, step: int) -> torch.Tensor:
        """Return what each branch sees: the prompt and its own past, itself included."""
        if self._branches == 1:
            written = self._seen.new_ones(len(self._seen), step + 1)
            return torch.cat([self._seen, written], 1).long()
        own = torch.eye(self._branches, dtype=torch.bool, device=self.device).repeat(1, step + 1)
        prompt = self._seen[:, None].expand(-1, self._branches, -1)
        seen = torch.cat([prompt, own.expand(len(prompt), -1, -1)], -1).unsqueeze(1)
        # Added to the scores: every implementation of attention takes that, not all take true and false.
        hidden = torch.finfo(self._model.dtype).min
        return torch.zeros(seen.shape, dtype=self._model.dtype, device=self.device).masked_fill_(~seen, hidden)


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with, less than the shortest has; 0 for a single prompt."""
    if len(prompts) == 1:
        return 0
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False))
    return min(sum(1 for _ in alike), min(map(len, prompts)) - 1)
