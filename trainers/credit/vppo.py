"""VPPO: steps before the first error of a wrong solution are rewarded, steps from it on are penalised.

Source: arXiv 2601.18984. A right solution earns its outcome. A wrong solution is split at its first error e_i:

    R_{i,t} = W_whole · r_i                    of a right answer
    R_{i,t} = W_process · (1 if s(t) < e_i else −1)  of a wrong one

The advantages are these rewards, normalised over all tokens of the group.

We read the abstract, not the equations. Our choices: all tokens of the prefix are rewarded, so that no return has to be
propagated backwards, and the normalisation is CAPO's. A wrong answer without a located error, or without a critique,
has R = 0. The vote over critiques locates errors; in the paper, a process reward model does.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import group_moments, normalise, summarize_completions
from trainers.credit.batch import Batch, Earned
from trainers.credit.first_error import charge_from_first_error
from trainers.credit.rewards import compute_step_charges
from trainers.credit.terms import Terms

FLAGGED = 0.5
"""Smallest penalty share with which a step counts as an error."""


def vppo(batch: Batch, terms: Terms) -> Earned:
    """Return advantages from the rewards before and after the first error of wrong solutions."""
    layout, outcomes = batch.layout, batch.outcomes[batch.layout.owner]
    shares = batch.evidence.given("shares")
    flags = np.where(np.isnan(shares), np.nan, (shares >= FLAGGED).astype(np.float64))
    charges = compute_step_charges(charge_from_first_error, flags, layout)
    erring = np.bincount(layout.owner, np.nan_to_num(charges), len(layout.steps))[layout.owner] > 0
    parted = np.where(erring, terms.w_process * (1 - 2 * np.nan_to_num(charges)), 0.0)
    rewards = np.where(outcomes > 0, terms.w_whole * outcomes, parted)
    rewards = np.where(np.isnan(outcomes), np.nan, rewards)
    by_token = np.where(layout.mask, layout.by_token(rewards), np.nan)
    mean, std = group_moments(summarize_completions(by_token, np.ones_like(by_token)), batch.group_size)
    return Earned(normalise(rewards, mean[layout.owner], std[layout.owner]), rewards, charges)
