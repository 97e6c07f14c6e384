"""The keys and values of a model's text so far, in storage that is made once."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


def make_cache(model: Any, rows: int, positions: int) -> Cache:
    """Return an empty cache; a layer that attends to all positions has storage for that many rows and positions."""
    cache = DynamicCache(config=model.config)
    layers = [RoomyLayer(rows, positions) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return Cache(layers=layers)


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with spare storage: a new position or a new row does not copy all its content.

    Args:
        rows: Most rows that it will hold.
        positions: Most positions of a row.
    """

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
