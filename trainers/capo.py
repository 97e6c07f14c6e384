"""CAPO: a critic finds the wrong steps of each rollout, and their tokens lose reward.

Source: arXiv 2508.02298. R_{i,t} = r_i · W_whole − penalty(step of t) · W_process, and
A_{i,t} = (R_{i,t} − mean) / std over all tokens of the group's G rollouts, or what else `credit.normalization` names;
the update is GRPO's, per token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trainers.credit.advantages import group_moments
from trainers.credit.arrays import FloatArray
from trainers.credit.assign import Credit, CreditRule, assign, process_signal_only
from trainers.credit.normalization import NORMALIZATIONS, normalised, part_stats
from trainers.credit.votes import VOTES
from trainers.criticised import CriticisedTrainer, train_with_critic
from trainers.methods import TrainRun, step_charge

CREDIT_METRICS = ("flagged_step_rate", "penalised_tokens", "vote_agreement", "abstained", "uncritiqued")


class CapoTrainer(CriticisedTrainer):
    """GRPO with an advantage for each token; which steps pay for a wrong one, the method says (`Method.charge`).

    Args:
        kwargs: What `CriticisedTrainer` takes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        credit = self.config.credit
        charge = step_charge(self.config.method)
        self.rule = CreditRule(VOTES.get(credit.vote), credit.at_least, credit.w_whole, credit.w_process, charge)
        self.parts = NORMALIZATIONS.get(credit.normalization)(credit.w_whole, credit.w_process)

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every token, shape (B, width)."""
        credit = assign(self.outcomes, self.critiques(), self.alignment, self.rule)
        advantages, signal = self._normalised(credit)
        self.report({**{name: credit.metrics.get(name, float("nan")) for name in CREDIT_METRICS}, **signal})
        return torch.from_numpy(np.pad(advantages, ((0, 0), (0, width - advantages.shape[1]))))

    def _normalised(self, credit: Credit) -> tuple[FloatArray, dict[str, float]]:
        """Normalise over whole groups, which may span processes: three numbers a part and a rollout travel."""
        group_size = self.config.train.group_size
        stats = part_stats(self.parts, self.outcomes, credit.charges, self.alignment.index)
        local = np.column_stack([self.outcomes, stats.reshape(len(stats), -1)])
        everyone = self.accelerator.gather(torch.from_numpy(local).to(self.accelerator.device)).cpu().numpy()
        mean, std = group_moments(everyone[:, 1:].reshape(-1, *stats.shape[1:]), group_size)
        first = self.accelerator.process_index * len(local)
        own = slice(first, first + len(local))
        share = process_signal_only(everyone[:, 0], std, group_size)
        advantages = normalised(self.parts, self.outcomes, credit.charges, credit.mask, (mean[own], std[own]))
        return advantages, {"groups_process_signal_only": share}


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, CapoTrainer)
