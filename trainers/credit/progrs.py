"""PROGRS: the process reward of wrong answers is centred, so that it ranks them but is 0 on average.

Source: arXiv 2604.02341. With p_i the quality of a response's process,

    c_i = p_i                                  of a right answer
    c_i = p_i − mean p over the group's wrong answers, of a wrong one
    A_i = (R_i − mean R) / std R,  R_i = W_whole · r_i + W_process · c_i

We read the abstract, not the equations. Our choices: W_process is the weight of the bonus c_i; p_i is the share of a
response's tokens in steps that the vote over critiques does not flag. The paper has a quantile-regression model and a
measure of how stable its scores are. A response without a critique gets the mean bonus of its kind: that of the right
answers, or 0 for a wrong answer.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import compute_response_advantages
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Batch, Earned
from trainers.credit.terms import Terms


def progrs(batch: Batch, terms: Terms) -> Earned:
    """Return GRPO's advantages of the outcome plus the centred process."""
    quality, right = batch.layout.response_means(1 - batch.evidence.given("shares")), batch.outcomes > 0
    of_right = _group_means(np.where(right, quality, np.nan), batch.group_size)
    of_wrong = _group_means(np.where(right, np.nan, quality), batch.group_size)
    bonus = np.where(right, quality, quality - of_wrong)
    bonus = np.where(np.isnan(bonus), np.where(right, of_right, 0.0), bonus)
    rewards = terms.w_whole * batch.outcomes + terms.w_process * bonus
    owner = batch.layout.owner
    return Earned(compute_response_advantages(rewards, batch.group_size)[owner], rewards[owner])


def _group_means(values: FloatArray, size: int) -> FloatArray:
    """Return the mean of each rollout's group without NaN values; 0 for a group with only NaN values."""
    groups = values.reshape(-1, size)
    counted = (~np.isnan(groups)).sum(axis=1)
    return np.repeat(np.nansum(groups, axis=1) / np.maximum(counted, 1), size)
