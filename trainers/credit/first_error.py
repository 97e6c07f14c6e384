"""First-error credit: the tokens before the first wrong step keep the outcome reward, those from it on lose.

Source: the critic's critiques used as the labels of ProcessBench (arXiv 2412.06559) and PRM800K (arXiv 2305.20050) are
made, which end at the first error; our own, to stand beside CAPO. With e_i the first step that the vote calls wrong,
R_{i,t} = r_i · W_whole − 1[s(t) ≥ e_i] · W_process, and no charge where no step is called wrong. Of shares, as the vote
`average` gives them, R_{i,t} = r_i · W_whole − max_{s ≤ s(t)} c_{i,s} · W_process. Critiques, votes, normalisation and
update are CAPO's.

A step that rests on an error earns nothing by being right in itself; one before it is not blamed for what came after.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray, IntArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.capo import charged
from trainers.credit.terms import Terms


def first_error(batch: Batch, terms: Terms) -> Earned:
    """Charge every step from the first wrong one on."""
    return charged(batch, terms, from_first_error)


def from_first_error(shares: FloatArray, tokens: IntArray) -> FloatArray:
    """Charge every step the largest share that it or a step before it is charged.

    Of a vote that names a set, that is 1 from the first wrong step on; of `average`, where shares lie between 0 and 1,
    a step is never charged less than one before it.

    Args:
        shares: Penalty share of each step as voted, along the last axis.
        tokens: Tokens of each step; they do not matter.
    """
    return np.asarray(np.maximum.accumulate(shares, axis=-1))
