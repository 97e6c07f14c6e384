"""Token rewards: the outcome of the rollout less the charge of the token's step (paper, section on token rewards)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray

StepCharge = Callable[[FloatArray], FloatArray]
"""From the penalty share of each step as voted to that which its tokens are charged, along the last axis.

What it does to a step may depend on the steps before it, never on those after: rows of unequal length are padded.
"""


def own_step(shares: FloatArray) -> FloatArray:
    """Charge each step what the vote charges it."""
    return shares


def token_rewards(outcomes: FloatArray, charges: FloatArray, w_whole: float, w_process: float) -> FloatArray:
    """Return R = r_v · W_whole − charge · W_process for every token, shape (B, T).

    With the defaults 2 and 1 and a voting rule that names a set, a token is worth 2 (right answer, right step), 1
    (right answer, wrong step), 0 (wrong answer, right step) or −1.

    Args:
        outcomes: r_v of each rollout, shape (B,); NaN where the verifier could not say, and then the rewards are NaN.
        charges: Penalty share of each token's step, shape (B, T).
        w_whole: Weight of the outcome.
        w_process: Weight of a wrong step.
    """
    return outcomes[:, None] * w_whole - charges * w_process


def token_charges(penalties: Sequence[FloatArray | None], index: IntArray) -> FloatArray:
    """Give every token its step's penalty share.

    Args:
        penalties: Penalty share per step of each of B rollouts; None where no critique answered, charged as nothing.
        index: Step of every token, shape (B, T); -1 for padding.

    Returns:
        Shape (B, T); 0 for padding.
    """
    widest = max((len(shares) for shares in penalties if shares is not None), default=0)
    # One column more than any rollout has steps: padding's index -1 finds a zero there.
    table = np.zeros((len(penalties), max(widest, int(index.max(initial=-1)) + 1) + 1))
    for row, shares in enumerate(penalties):
        if shares is not None:
            table[row, : len(shares)] = shares
    return np.take_along_axis(table, index, axis=1)
