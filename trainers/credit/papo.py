"""PAPO: the process reward is normalised separately, and over right answers only.

Source: arXiv 2603.26535. With p_i the quality of a response's process,

    A_i = A_out,i + A_proc,i
    A_out,i = (r_i − mean r) / std r           over all responses of the group
    A_proc,i = (p_i − mean p) / std p          over its right responses; 0 for a wrong one

A wrong answer therefore cannot earn by its process, and a group of right answers still gives a signal.

We read the abstract, not the equations. Our choices: the parts are weighted as W_whole · A_out + W_process · A_proc,
and p_i is the share of a response's tokens in steps that the vote over critiques does not flag. In the paper, a rubric
scores a response. All tokens of a response have the same advantage. A response without a critique has no A_proc.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import compute_response_advantages
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def papo(batch: Batch, terms: Terms) -> Earned:
    """Return the weighted sum of outcome and process advantages."""
    quality = batch.layout.response_means(1 - batch.evidence.given("shares"))
    process = compute_response_advantages(np.where(batch.outcomes > 0, quality, np.nan), batch.group_size)
    whole = compute_response_advantages(batch.outcomes, batch.group_size)
    return Earned((terms.w_whole * whole + terms.w_process * process)[batch.layout.owner], quality[batch.layout.owner])
