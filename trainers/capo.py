"""Trains methods whose credit rests on a vote over critiques: CAPO (arXiv 2508.02298) and those that charge otherwise.

Which steps pay for those that are voted wrong, the method says (`Method.credit`); `trainers.credit.capo` is CAPO's own.
"""

from __future__ import annotations

import torch

from trainers.credit.batch import Evidence
from trainers.credit.votes import VOTES, charged_metrics, combine, flags_of, vote_metrics
from trainers.criticised import CriticisedTrainer, train_with_critic
from trainers.grouped import Credited, credit_groups
from trainers.run import TrainRun


class CapoTrainer(CriticisedTrainer):
    """GRPO with an advantage for each token, by what critiques say of its step."""

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every token, shape (B, width)."""
        return self.credit().padded(width)

    def credit(self) -> Credited:
        """Wait for the critiques, work out the credit of the batch and report it."""
        settings, critiques = self.config.credit, self.critiques()
        flags = flags_of(critiques, [len(steps) for steps in self.alignment.steps])
        shares = combine(VOTES.get(settings.vote), flags, settings.at_least)
        credited = credit_groups(self, Evidence(shares=shares))
        charges = credited.earned.charges
        self.report(
            {
                **vote_metrics(flags, shares),
                **({} if charges is None else charged_metrics(credited.layout, charges)),
                "abstained": float(sum(map(len, critiques)) - flags.answered.sum()),
                "groups_process_signal_only": credited.process_only,
            }
        )
        return credited


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, CapoTrainer)
