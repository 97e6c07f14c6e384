"""VPPO: only the first error of a wrong solution is located; what precedes it earns, what follows pays.

Source: arXiv 2601.18984. A right solution earns its outcome. A wrong one is parted at its first error e_i:

    R_{i,t} = W_whole · r_i                    of a right answer
    R_{i,t} = W_process · (1 if s(t) < e_i else −1)  of a wrong one

and the advantages are those of the rewards over all tokens of the group.

The abstract was read, not the equations. Choices: the prefix is rewarded in all of its tokens, so that no return has to
be carried back, and normalisation is CAPO's. A wrong answer without a located error, or without a critique, has R = 0.
Errors are located by the vote over critiques, where the paper has a process reward model locate them.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.advantages import completion_stats, group_moments, normalise
from trainers.credit.batch import Batch, Earned
from trainers.credit.first_error import from_first_error
from trainers.credit.rewards import step_charges
from trainers.credit.terms import Terms

FLAGGED = 0.5
"""Penalty share from which on a step is taken for an error."""


def vppo(batch: Batch, terms: Terms) -> Earned:
    """Return what steps earn before and after the first error of wrong solutions."""
    layout, outcomes = batch.layout, batch.outcomes[batch.layout.owner]
    shares = batch.evidence.given("shares")
    flags = np.where(np.isnan(shares), np.nan, (shares >= FLAGGED).astype(np.float64))
    charges = step_charges(from_first_error, flags, layout)
    erring = np.bincount(layout.owner, np.nan_to_num(charges), len(layout.steps))[layout.owner] > 0
    parted = np.where(erring, terms.w_process * (1 - 2 * np.nan_to_num(charges)), 0.0)
    rewards = np.where(outcomes > 0, terms.w_whole * outcomes, parted)
    rewards = np.where(np.isnan(outcomes), np.nan, rewards)
    by_token = np.where(layout.mask, layout.by_token(rewards), np.nan)
    mean, std = group_moments(completion_stats(by_token, np.ones_like(by_token)), batch.group_size)
    return Earned(normalise(rewards, mean[layout.owner], std[layout.owner]), rewards, charges)
