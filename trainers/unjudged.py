"""Trains methods whose credit rests on outcomes and steps alone; what it is, the method says (`Method.credit`)."""

from __future__ import annotations

import torch

from trainers.credit.batch import Evidence
from trainers.credit.states import state_numbers
from trainers.grouped import credit_groups
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun


class UnjudgedTrainer(PolicyTrainer):
    """GRPO with the advantages of a method that asks nobody about steps."""

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every token, shape (B, width)."""
        states = state_numbers([problem.id for problem in self.problems], self.alignment.steps)
        credited = credit_groups(self, Evidence(states=states))
        self.report({"groups_process_signal_only": credited.process_only})
        return credited.padded(width)


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, UnjudgedTrainer, run.config.evaluation.segmenter)
