"""How good the steps of solutions are by a vote, and the means of it: what several methods begin with."""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Layout


def step_quality(batch: Batch) -> FloatArray:
    """Return 1 − the penalty share of each step, shape (N,); NaN where no critique answered."""
    return 1 - batch.evidence.given("shares")


def response_means(layout: Layout, values: FloatArray) -> FloatArray:
    """Return the mean over the tokens of each rollout, shape (B,); NaN where a step's value is, or without tokens."""
    tokens = np.bincount(layout.owner, layout.tokens, len(layout.steps))
    sums = np.bincount(layout.owner, layout.tokens * values, len(layout.steps))
    means: FloatArray = np.divide(sums, tokens, out=np.full(len(tokens), np.nan), where=tokens > 0)
    return means
