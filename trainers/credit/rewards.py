"""Token rewards: the outcome of the rollout less the charge of the token's step (paper, section on token rewards)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Layout

StepCharge = Callable[[FloatArray, IntArray], FloatArray]
"""From penalty share as voted and number of tokens of each step to what its tokens are charged, along the last axis.

Rows of unequal length are padded with steps that have neither share nor token; these must not change the others, not
even in the last bit.
"""


def own_step(shares: FloatArray, tokens: IntArray) -> FloatArray:
    """Charge each step what the vote charges it."""
    return shares


def token_rewards(outcomes: FloatArray, charges: FloatArray, w_whole: float, w_process: float) -> FloatArray:
    """Return R = r_v · W_whole − charge · W_process.

    With the defaults 2 and 1 and a voting rule that names a set, a token is worth 2 (right answer, right step), 1
    (right answer, wrong step), 0 (wrong answer, right step) or −1.

    Args:
        outcomes: r_v of the rollout; NaN where the verifier could not say, and then the rewards are NaN.
        charges: Penalty share, of a shape that goes with that of the outcomes.
        w_whole: Weight of the outcome.
        w_process: Weight of a wrong step.
    """
    return outcomes * w_whole - charges * w_process


def step_charges(charge: StepCharge, shares: FloatArray, layout: Layout) -> FloatArray:
    """Return what the tokens of each step are charged, shape (N,); NaN for a rollout of which no critique answered.

    Args:
        charge: Which steps pay for those that are voted wrong.
        shares: Penalty share of each step as voted, shape (N,); NaN where no critique answered.
        layout: Steps and tokens.
    """
    voted = layout.square(np.nan_to_num(shares))
    charges = layout.flat(charge(voted, layout.square(layout.tokens).astype(np.int64)))
    return np.where(np.isnan(shares), np.nan, charges)
