"""CAPO: a critic finds the wrong steps of each rollout, and the tokens of these steps lose reward.

Source: arXiv 2508.02298. R_{i,t} = r_i · W_whole − penalty(step of t) · W_process, and A_{i,t} = (R_{i,t} − mean) / std
over all tokens of the group's G rollouts, or another normalisation of `credit.normalization`. The update is GRPO's, per
token.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.batch import Batch, Earned
from trainers.credit.normalization import compute_neutral_charge, compute_part_moments, normalise_parts
from trainers.credit.rewards import StepCharge, charge_own_step, compute_step_charges, compute_token_rewards
from trainers.credit.terms import Terms


def capo(batch: Batch, terms: Terms) -> Earned:
    """Charge each step its own penalty share."""
    return charge_steps(batch, terms, charge_own_step)


def charge_steps(batch: Batch, terms: Terms, charge: StepCharge) -> Earned:
    """Return the advantages of a batch in which steps are charged for steps that the vote calls wrong.

    Args:
        batch: Rollouts with penalty shares. A rollout without a critique is charged its group's mean.
        terms: Weights and normalisation.
        charge: Function that decides which steps are charged.
    """
    layout, outcomes = batch.layout, batch.outcomes
    shares = np.zeros(len(layout.tokens)) if batch.evidence.shares is None else batch.evidence.shares
    parts = terms.normalization(terms.w_whole, terms.w_process)
    charges = compute_step_charges(charge, shares, layout)
    moments = compute_part_moments(parts, outcomes, layout.by_token(charges), layout.index, batch.group_size)
    advantages = normalise_parts(parts, outcomes, charges, layout.owner, moments)
    settled = np.where(np.isnan(charges), compute_neutral_charge(parts, moments)[layout.owner], charges)
    rewards = compute_token_rewards(outcomes[layout.owner], settled, terms.w_whole, terms.w_process)
    return Earned(advantages, rewards, charges)
