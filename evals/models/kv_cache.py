"""The keys and values that a model has read, in room that grows with what it writes."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

ROOM = 128
"""Positions by which a layer's room grows."""


def new_cache(model: Any) -> tuple[Cache, bool]:
    """Return an empty cache, and whether rows may branch: only where every layer attends to all that came before."""
    cache = DynamicCache(config=model.config)
    if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return cache, False
    return Cache(layers=[RoomyLayer() for _ in cache.layers]), True


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with room to spare: a new position does not copy all that came before, as it does in its parent."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[torch.Tensor, ...] = ()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values of shape (rows, heads, new, size); return all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        kept = self.get_seq_length()
        end = kept + key_states.shape[-2]
        if not self._room or self._room[0].shape[-2] < end:
            self._room = (_roomier(self.keys, key_states, kept), _roomier(self.values, value_states, kept))
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[..., kept:end, :] = new
        self.keys, self.values = (room[..., :end, :] for room in self._room)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        self._room = ()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self._room = ()


def _roomier(old: torch.Tensor | None, new: torch.Tensor, kept: int) -> torch.Tensor:
    room = new.new_empty(*new.shape[:-2], kept + new.shape[-2] + ROOM, new.shape[-1])
    if old is not None and kept:
        room[..., :kept, :] = old
    return room
