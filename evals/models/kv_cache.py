"""The keys and values of a model's text so far, in storage that grows in large pieces."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

POSITIONS = 128
"""Positions by which a layer's storage grows."""


def make_cache(model: Any) -> Cache:
    """Return an empty cache; a layer that attends to all positions has spare storage."""
    cache = DynamicCache(config=model.config)
    return Cache(layers=[RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers])


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with spare storage: a new position or a new row does not copy all its content."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values of shape (rows, heads, new, size); return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, kept = len(key_states), self.get_seq_length()
        end = kept + key_states.shape[-2]
        if not self._room or self._room[0].shape[-2] < end:
            held = (self.keys, self.values) if kept else (key_states[..., :0, :], value_states[..., :0, :])
            self._room = [_make_room(each, rows, end + POSITIONS) for each in held]
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:rows, :, kept:end] = new
        self._show(rows, end)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        if self._room:
            self.batch_select_indices(torch.arange(len(self.keys), device=self.device).repeat_interleave(repeats))

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Make row i a copy of row `indices[i]`; only rows that change are copied."""
        rows, end = len(indices), self.get_seq_length()
        if not self._room:
            return
        if rows > len(self._room[0]):
            positions = self._room[0].shape[-2]
            self._room = [_make_room(each, rows + rows // 2, positions) for each in (self.keys, self.values)]
        moved = (indices != torch.arange(rows, device=indices.device)).nonzero().squeeze(1)
        for room in self._room:
            room[moved, :, :end] = room[indices[moved], :, :end]
        self._show(rows, end)

    def _show(self, rows: int, end: int) -> None:
        self.keys, self.values = (room[:rows, :, :end] for room in self._room)


def _make_room(held: torch.Tensor, rows: int, positions: int) -> torch.Tensor:
    """Return storage for that many rows and positions, which begins with `held`."""
    room = held.new_empty(rows, held.shape[1], positions, held.shape[-1])
    room[: len(held), :, : held.shape[-2]] = held
    return room
