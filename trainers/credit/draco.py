"""DRACO's redistribution: one judgment of a rollout's steps moves its group-relative advantage among these steps.

Source: arXiv 2609.04094. Only a note in a list of methods was read, not the paper: each rollout has one judgment, and a
closed form redistributes the advantage, so that a rollout's total stays GRPO's. Our form is:

    A_{i,s} = A_out,i · u_{i,s} / (mean of u over the tokens of i)
    u_{i,s} = 1 − c_{i,s} of a rollout with A_out,i ≥ 0, c_{i,s} of one with A_out,i < 0

where c is the penalty share. In a rollout with a positive advantage, the right steps share the credit; in a rollout
with a negative advantage, the wrong steps share the blame. No step changes its sign. All steps have equal weights if u
is 0 everywhere (a right answer whose steps are all called wrong, or a wrong answer without a wrong step) or if there is
no critique. W_process mixes the two: u becomes (1 − W_process) + W_process · u, and W_process = 1 is the form above.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import compute_response_advantages
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def draco(batch: Batch, terms: Terms) -> Earned:
    """Return outcome advantages, redistributed among each rollout's steps without a change of their token mean."""
    layout, shares = batch.layout, batch.evidence.given("shares")
    whole = compute_response_advantages(batch.outcomes, batch.group_size)[layout.owner]
    judged = np.where(whole >= 0, 1 - shares, shares)
    mix = min(terms.w_process, 1.0)
    weights = np.where(np.isnan(judged), 1.0, (1 - mix) + mix * judged)
    means = layout.response_means(weights)[layout.owner]
    spread = np.divide(weights, means, out=np.ones_like(weights), where=np.nan_to_num(means) > 0)
    return Earned(whole * spread)
