"""Spread evenly: the charges of a rollout's steps are distributed evenly over all of its tokens.

This is a control of CAPO: the same critiques charge a rollout the same total, but not at the wrong steps.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.capo import charge_steps
from trainers.credit.terms import Terms


def spread(batch: Batch, terms: Terms) -> Earned:
    """Charge all tokens of a rollout equally."""
    return charge_steps(batch, terms, charge_evenly)


def charge_evenly(shares: FloatArray, tokens: IntArray) -> FloatArray:
    """Charge every step the mean charge of the rollout's tokens.

    The charge is per token, so the sum over tokens is unchanged, whatever the lengths of the steps. A wrong step
    without tokens adds no charge, as in CAPO.

    Args:
        shares: Penalty share of each step by the vote, along the last axis.
        tokens: Number of tokens of each step.
    """
    # Cumulative sums add one value after another, so padding at the end changes no bit of the result.
    charged = np.cumsum(shares * tokens, axis=-1)[..., -1:]
    total = np.cumsum(tokens, axis=-1)[..., -1:]
    return np.broadcast_to(charged / np.maximum(total, 1), shares.shape)
