"""Train methods whose credit is based on a vote over critiques: CAPO (arXiv 2508.02298) and methods with other charges.

The method's credit function (`Method.credit`) decides which steps are charged; `trainers.credit.capo` is CAPO's own.
"""

from __future__ import annotations

from trainers.credit.batch import Evidence
from trainers.credit.votes import VOTES, build_flags, combine, measure_charges, vote_metrics
from trainers.criticised import CriticisedTrainer, train_with_critic
from trainers.grouped import Credited
from trainers.run import TrainRun


class CapoTrainer(CriticisedTrainer):
    """GRPO with an advantage for each token that depends on the critiques of its step."""

    def find_evidence(self) -> Evidence:
        """Wait for the critiques and vote."""
        settings, critiques = self.config.credit, self.critiques()
        flags = build_flags(critiques, [len(steps) for steps in self.alignment.steps])
        shares = combine(VOTES.get(settings.vote), flags, settings.at_least)
        abstained = float(sum(map(len, critiques)) - flags.answered.sum())
        self.report({**vote_metrics(flags, shares), "abstained": abstained})
        return Evidence(shares=shares)

    def credit(self, evidence: Evidence) -> Credited:
        """Compute the credit of the batch, and report it with its charges."""
        credited = super().credit(evidence)
        if credited.earned.charges is not None:
            self.report(measure_charges(credited.layout, credited.earned.charges))
        return credited


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, CapoTrainer)
