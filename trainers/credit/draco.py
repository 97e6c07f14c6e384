"""DRACO's redistribution: the group's advantage of a rollout is moved among its steps by one judgment of them.

Source: arXiv 2609.04094, of which only a note in a list of methods was read, not the paper: one judgment a rollout, and
the advantage is moved in closed form, so that what a rollout gets in all stays GRPO's. Our form of it:

    A_{i,s} = A_out,i · u_{i,s} / (mean of u over the tokens of i)
    u_{i,s} = 1 − c_{i,s} of a rollout with A_out,i ≥ 0, c_{i,s} of one with A_out,i < 0

with c the penalty share: of a good rollout the steps that are right share the credit, of a bad one those that are wrong
share the blame. No step changes its sign. Where u is 0 everywhere (a right answer all of whose steps are called wrong,
a wrong one without a wrong step), or without a critique, all steps share alike. W_process mixes: u is
(1 − W_process) + W_process · u, and W_process = 1 is the form above.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import response_advantages
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def draco(batch: Batch, terms: Terms) -> Earned:
    """Return outcome advantages, moved among the steps of each rollout; their mean over its tokens stays."""
    layout, shares = batch.layout, batch.evidence.given("shares")
    whole = response_advantages(batch.outcomes, batch.group_size)[layout.owner]
    judged = np.where(whole >= 0, 1 - shares, shares)
    mix = min(terms.w_process, 1.0)
    weights = np.where(np.isnan(judged), 1.0, (1 - mix) + mix * judged)
    means = layout.response_means(weights)[layout.owner]
    spread = np.divide(weights, means, out=np.ones_like(weights), where=np.nan_to_num(means) > 0)
    return Earned(whole * spread)
