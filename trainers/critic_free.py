"""Train methods whose credit is based on outcomes and steps alone; the method defines the credit (`Method.credit`)."""

from __future__ import annotations

from trainers.credit.batch import Evidence
from trainers.credit.states import number_states
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun


class CriticFreeTrainer(PolicyTrainer):
    """GRPO with the advantages of a method that uses no critic."""

    def find_evidence(self) -> Evidence:
        """Return the states that rollouts of a problem share."""
        return Evidence(states=number_states([problem.id for problem in self.problems], self.alignment.steps))


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, CriticFreeTrainer, run.config.evaluation.segmenter)
