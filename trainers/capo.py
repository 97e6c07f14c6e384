"""CAPO: a critic finds the wrong steps of each rollout, and their tokens lose reward.

Source: arXiv 2508.02298. R_{i,t} = r_i · W_whole − penalty(step of t) · W_process, and
A_{i,t} = (R_{i,t} − mean) / std over all tokens of the group's G rollouts; the update is GRPO's, per token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trainers.credit.advantages import completion_stats, group_moments, normalise
from trainers.credit.arrays import FloatArray
from trainers.credit.assign import Credit, CreditRule, assign, process_signal_only
from trainers.credit.votes import VOTES
from trainers.criticised import CriticisedTrainer, train_with_critic
from trainers.methods import TrainRun

CREDIT_METRICS = ("flagged_step_rate", "penalised_tokens", "vote_agreement", "abstained", "uncritiqued")


class CapoTrainer(CriticisedTrainer):
    """GRPO with an advantage for each token.

    Args:
        kwargs: What `CriticisedTrainer` takes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        credit = self.config.credit
        self.rule = CreditRule(VOTES.get(credit.vote), credit.at_least, credit.w_whole, credit.w_process)

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every token, shape (B, width)."""
        credit = assign(self.outcomes, self.critiques(), self.alignment, self.rule)
        advantages, signal = self._normalised(credit)
        self.report({**{name: credit.metrics.get(name, float("nan")) for name in CREDIT_METRICS}, **signal})
        return torch.from_numpy(np.pad(advantages, ((0, 0), (0, width - advantages.shape[1]))))

    def _normalised(self, credit: Credit) -> tuple[FloatArray, dict[str, float]]:
        """Normalise over the tokens of whole groups, which may span processes: four numbers a rollout travel."""
        group_size = self.config.train.group_size
        local = np.column_stack([completion_stats(credit.rewards, credit.mask), self.outcomes])
        everyone = self.accelerator.gather(torch.from_numpy(local).to(self.accelerator.device)).cpu().numpy()
        mean, std = group_moments(everyone[:, :3], group_size)
        first = self.accelerator.process_index * len(local)
        own = slice(first, first + len(local))
        share = process_signal_only(everyone[:, 3], std, group_size)
        return normalise(credit.rewards, credit.mask, mean[own], std[own]), {"groups_process_signal_only": share}


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, CapoTrainer)
