"""Batches for tests: rollouts given step by step as (tokens, share) pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Evidence, Layout, lay_out
from trainers.credit.normalization import Part, compute_part_moments, normalise_parts

Steps = Sequence[tuple[int, float]]


def batch_of(outcomes: Sequence[float], *rows: Steps, group_size: int | None = None, name: str = "shares") -> Batch:
    """Return a batch, of one group unless its size is given; what is known of steps is the evidence of that name."""
    evidence: dict[str, Any] = {name: np.array([share for row in rows for _, share in row], dtype=np.float64)}
    layout = lay_out([[tokens for tokens, _ in row] for row in rows])
    return Batch(layout, np.array(outcomes, dtype=np.float64), group_size or len(rows), Evidence(**evidence))


def rows_of(layout: Layout, values: FloatArray) -> list[list[float]]:
    """Return the values of steps, rollout by rollout."""
    return [part.tolist() for part in np.split(values, np.cumsum(layout.steps)[:-1])]


def group_advantages(
    parts: Sequence[Part], outcomes: FloatArray, charges: FloatArray, index: Any, group_size: int
) -> FloatArray:
    """Return advantages token by token, shape (B, T), as if every token were a step of its own."""
    outcomes, mask = np.asarray(outcomes, dtype=np.float64), index >= 0
    charges = np.where(mask, charges, 0.0)
    moments = compute_part_moments(parts, outcomes, charges, index, group_size)
    owner = np.broadcast_to(np.arange(len(index))[:, None], index.shape)
    laid = np.zeros(index.shape)
    laid[mask] = normalise_parts(parts, outcomes, charges[mask], owner[mask], moments)
    return laid
