"""Compute token rewards: the outcome of the rollout minus the charge of the token's step (paper, on token rewards)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Layout

StepCharge = Callable[[FloatArray, IntArray], FloatArray]
"""From the penalty share and the number of tokens of each step to the charge of its tokens, along the last axis.

Rows of unequal length are padded with steps whose share and number of tokens are 0. The padding must not change the
other results, not even in the last bit.
"""


def charge_own_step(shares: FloatArray, tokens: IntArray) -> FloatArray:
    """Charge each step its own penalty share."""
    return shares


def compute_token_rewards(outcomes: FloatArray, charges: FloatArray, w_whole: float, w_process: float) -> FloatArray:
    """Return R = r_v · W_whole − charge · W_process.

    With the defaults 2 and 1 and a voting rule that names a set, the reward of a token is 2 (right answer, right step),
    1 (right answer, wrong step), 0 (wrong answer, right step) or −1 (wrong answer, wrong step).

    Args:
        outcomes: r_v of the rollout; NaN where the answer could not be verified, which makes the rewards NaN.
        charges: Penalty share, in a shape that broadcasts with that of the outcomes.
        w_whole: Weight of the outcome.
        w_process: Weight of a wrong step.
    """
    return outcomes * w_whole - charges * w_process


def compute_step_charges(charge: StepCharge, shares: FloatArray, layout: Layout) -> FloatArray:
    """Return the charge of the tokens of each step, shape (N,); NaN for a rollout for which no critique answered.

    Args:
        charge: Function that decides which steps are charged.
        shares: Penalty share of each step by the vote, shape (N,); NaN where no critique answered.
        layout: Steps and tokens.
    """
    voted = layout.square(np.nan_to_num(shares))
    charges = layout.flat(charge(voted, layout.square(layout.tokens).astype(np.int64)))
    return np.where(np.isnan(shares), np.nan, charges)
