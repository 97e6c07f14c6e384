"""Spread evenly: each token of a rollout pays the same part of what the vote charges its steps.

A control of CAPO: as much is charged in a rollout, by the same critiques, but not where the wrong steps are.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.capo import charged
from trainers.credit.terms import Terms


def spread(batch: Batch, terms: Terms) -> Earned:
    """Charge all tokens of a rollout alike."""
    return charged(batch, terms, evenly)


def evenly(shares: FloatArray, tokens: IntArray) -> FloatArray:
    """Charge every step the mean charge of the rollout's tokens.

    The charge is per token, so it is the sum over tokens that stays what it was, whatever the lengths of the steps. A
    wrong step without tokens costs nothing here, as it costs nothing there.

    Args:
        shares: Penalty share of each step as voted, along the last axis.
        tokens: Tokens of each step.
    """
    # Running sums, added one after another: padding at the end changes no bit of them.
    charged = np.cumsum(shares * tokens, axis=-1)[..., -1:]
    total = np.cumsum(tokens, axis=-1)[..., -1:]
    return np.broadcast_to(charged / np.maximum(total, 1), shares.shape)
