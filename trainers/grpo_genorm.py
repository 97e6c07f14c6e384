"""GRPO-GenORM: the critic judges the whole answer, and the vote over its judgments is the reward of all tokens.

Source: arXiv 2508.02298, baselines. r_i = 1 − penalty share of the vote over k judgments. The advantage is GRPO's, (r_i
− mean) / std over the group, the same for every token of a rollout.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.critique import Aim
from trainers.credit.votes import VOTES, build_flags, combine, vote_metrics
from trainers.criticised import CriticisedTrainer, train_with_critic
from trainers.run import TrainRun


class GenormTrainer(CriticisedTrainer):
    """GRPO with the voted judgment as reward instead of the verifier's outcome, which is still recorded."""

    aim: ClassVar[Aim] = "answer"

    def reward(self) -> FloatArray:
        """Return the reward of each rollout, shape (B,).

        It is 1 if the vote calls the answer right, 0 if it calls it wrong, and between them under `average`; NaN
        without a judgment.
        """
        credit, critiques = self.config.credit, self.critiques()
        flags = build_flags(critiques, [1] * len(critiques))
        shares = combine(VOTES.get(credit.vote), flags, credit.at_least)
        judged = 1 - shares
        voted = ~np.isnan(judged)
        both = voted & ~np.isnan(self.outcomes)
        metrics = vote_metrics(flags, shares)
        self.report(
            {
                "judged": _compute_mean(judged[voted]),
                "judged_as_verified": _compute_mean((judged[both] >= 0.5) == (self.outcomes[both] == 1)),
                "vote_agreement": metrics["vote_agreement"],
                "abstained": float(sum(map(len, critiques)) - flags.answered.sum()),
                "uncritiqued": metrics["uncritiqued"],
            }
        )
        return judged


def _compute_mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, GenormTrainer)
