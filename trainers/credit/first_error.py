"""First-error credit: tokens before the first wrong step keep the outcome reward, tokens from that step on lose reward.

Source: our own method, for comparison with CAPO. It uses the critic's critiques like the labels of ProcessBench (arXiv
2412.06559) and PRM800K (arXiv 2305.20050), which end at the first error. With e_i the first step that the vote calls
wrong, R_{i,t} = r_i · W_whole − 1[s(t) ≥ e_i] · W_process, without a charge if no step is called wrong. For fractional
shares, as the vote `average` returns them, R_{i,t} = r_i · W_whole − max_{s ≤ s(t)} c_{i,s} · W_process. Critiques,
votes, normalisation and update are CAPO's.

A step that builds on an error earns nothing even if it is right in itself. A step before the error is not blamed for
the error.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.capo import charge_steps
from trainers.credit.terms import Terms


def first_error(batch: Batch, terms: Terms) -> Earned:
    """Charge the first wrong step and every step after it."""
    return charge_steps(batch, terms, charge_from_first_error)


def charge_from_first_error(shares: FloatArray, tokens: IntArray) -> FloatArray:
    """Charge every step the largest penalty share of itself and the steps before it.

    For a vote that names a set of wrong steps, the charge is 1 from the first wrong step on. For `average`, whose
    shares lie between 0 and 1, a step is never charged less than an earlier step.

    Args:
        shares: Penalty share of each step by the vote, along the last axis.
        tokens: Number of tokens of each step; not used.
    """
    return np.asarray(np.maximum.accumulate(shares, axis=-1))
