"""GRPO-GenORM: the critic judges the answer as a whole, and its vote is the one reward of all tokens.

Source: arXiv 2508.02298, baselines. r_i = 1 − penalty share of the vote over k judgments; the advantage is GRPO's,
(r_i − mean) / std over the group, the same for every token of a rollout.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from trainers.credit.arrays import FloatArray
from trainers.credit.assign import checked
from trainers.credit.critique import Aim
from trainers.credit.votes import VOTES, combine, flag_matrix, vote_agreement
from trainers.criticised import CriticisedTrainer, train_with_critic
from trainers.methods import TrainRun


class GenormTrainer(CriticisedTrainer):
    """GRPO with the voted judgment in place of the verifier's outcome, which is measured all the same."""

    aim: ClassVar[Aim] = "answer"

    def reward(self) -> FloatArray:
        """Return 1 where the vote calls the answer right, 0 where wrong, between them under `average`; NaN unjudged."""
        credit = self.config.credit
        critiques = self.critiques()
        flags = [flag_matrix([checked(critique, 1) for critique in row], 1) for row in critiques]
        shares = [combine(VOTES.get(credit.vote), matrix, credit.at_least) for matrix in flags]
        judged = np.array([np.nan if share is None else 1 - share[0] for share in shares])
        agreements = [agreement for matrix in flags if (agreement := vote_agreement(matrix)) is not None]
        known = ~np.isnan(judged)
        both = known & ~np.isnan(self.outcomes)
        self.report(
            {
                "judged": _mean(judged[known]),
                "judged_as_verified": _mean((judged[both] >= 0.5) == (self.outcomes[both] == 1)),
                "vote_agreement": _mean(np.array(agreements)),
                "abstained": float(sum(map(len, critiques)) - sum(map(len, flags))),
                "uncritiqued": float((~known).sum()),
            }
        )
        return judged


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else float("nan")


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_with_critic(run, GenormTrainer)
