"""Outcome only: CAPO without its process reward, under CAPO's normalisation; a control without a critic.

Source: arXiv 2508.02298 with W_process = 0. R_{i,t} = r_i for every token, so A_{i,t} = (r_i − mean) / std with mean
and std over all tokens of the group, or another normalisation of `credit.normalization`. It differs from GRPO-Rule in
the normalisation alone, so the gain of CAPO over it is due to the critic.
"""

from __future__ import annotations

from dataclasses import replace

from trainers.credit.batch import Batch, Earned, Evidence
from trainers.credit.capo import charge_steps
from trainers.credit.rewards import charge_own_step
from trainers.credit.terms import Terms


def outcome_only(batch: Batch, terms: Terms) -> Earned:
    """Return GRPO's advantages, with the outcome normalised like CAPO's token rewards."""
    alone = replace(batch, evidence=Evidence())
    return charge_steps(alone, replace(terms, w_whole=1.0, w_process=0.0), charge_own_step)
