"""Outcome only: CAPO without its process, under CAPO's normalisation; a control that asks no critic.

Source: arXiv 2508.02298 with W_process = 0. R_{i,t} = r_i for every token, so A_{i,t} = (r_i − mean) / std with mean
and std over all tokens of the group, or what else `credit.normalization` names. From GRPO-Rule it differs in the
normalisation alone: what CAPO gains over it is the critic's.
"""

from __future__ import annotations

from dataclasses import replace

from trainers.credit.batch import Batch, Earned, Evidence
from trainers.credit.capo import charged
from trainers.credit.rewards import own_step
from trainers.credit.terms import Terms


def outcome_only(batch: Batch, terms: Terms) -> Earned:
    """Return GRPO's advantages, the outcome normalised as CAPO's token rewards are."""
    alone = replace(batch, evidence=Evidence())
    return charged(alone, replace(terms, w_whole=1.0, w_process=0.0), own_step)
