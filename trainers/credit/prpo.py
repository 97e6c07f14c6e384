"""PRPO: process advantages of steps, shifted so that a response's mean is the advantage of its outcome.

Source: arXiv 2601.07182. The quality of steps is normalised, and then shifted in each response:

    z_{i,s} = (q_{i,s} − mean q) / std q       over all tokens of the group
    A_{i,s} = W_whole · A_out,i + W_process · (z_{i,s} − mean over the tokens of i)

The outcome therefore decides the mean advantage of a response, and the process decides how it is distributed over its
steps.

We read the abstract, not the equations. Our choices: the moments are the group's, whereas the paper has fixed moments
of its reward model; q is 1 − the penalty share of the vote over critiques; the study's segmenter defines the steps,
whereas the paper cuts at peaks of entropy. A response without a critique has only the advantage of its outcome.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import compute_response_advantages, group_moments, normalise, summarize_completions
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def prpo(batch: Batch, terms: Terms) -> Earned:
    """Return outcome advantages, redistributed among the steps of each response by their quality."""
    layout, quality = batch.layout, 1 - batch.evidence.given("shares")
    by_token = np.where(layout.mask, layout.by_token(quality), np.nan)
    mean, std = group_moments(summarize_completions(by_token, np.ones_like(by_token)), batch.group_size)
    process = normalise(quality, mean[layout.owner], std[layout.owner])
    shifted = process - np.nan_to_num(layout.response_means(process))[layout.owner]
    whole = compute_response_advantages(batch.outcomes, batch.group_size)[layout.owner]
    verified = ~np.isnan(batch.outcomes)[layout.owner]
    return Earned(np.where(verified, terms.w_whole * whole + terms.w_process * shifted, 0.0), quality)
