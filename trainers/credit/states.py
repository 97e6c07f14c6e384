"""Find the rollouts of a batch that share a state: the solution's text so far, hashed to a number per step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Batch

_BITS = 52
"""Number of bits of a hash: as many as a 64-bit float represents exactly."""


def number_states(problems: Sequence[str], steps: Sequence[Sequence[str]]) -> FloatArray:
    """Return the state after each step, shape (N,): equal for solutions of one problem with the same text so far.

    Args:
        problems: Id of each rollout's problem.
        steps: The text of each rollout's steps.
    """
    numbers = []
    for problem, row in zip(problems, steps, strict=True):
        digest = hashlib.sha256(problem.encode())
        for step in row:
            digest.update(f"\n\n{step.strip()}".encode("utf-8", "surrogatepass"))
            numbers.append(float(int.from_bytes(digest.digest()[:8], "big") >> (64 - _BITS)))
    return np.array(numbers, dtype=np.float64)


def count_visits(batch: Batch) -> tuple[IntArray, IntArray]:
    """Return for each step a number of its state within its group, and how many of its rollouts share that state.

    Returns:
        Two arrays of shape (N,). States are numbered from 0 over the batch; a rollout passes each of its states once.
    """
    group = batch.layout.owner // batch.group_size
    pairs = np.stack([group.astype(np.float64), batch.evidence.given("states")], axis=1)
    _, place, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    place = place.ravel()
    return place, counts[place]
