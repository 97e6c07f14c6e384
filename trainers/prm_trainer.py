"""Train methods with a process reward model: score each batch, report the cost, and stop if too many are unscored."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np

from trainers.credit.batch import Evidence
from trainers.criticised import CriticFailingError
from trainers.policy import PolicyTrainer, train_policy
from trainers.prm.scored import ScoredSolution, measure_scored
from trainers.prm.scorer import Scorer
from trainers.run import TrainRun


class ScoredTrainer(PolicyTrainer):
    """A policy trainer whose advantages are computed from the scores of steps by `Method.credit`.

    Its step records use the names of critics: a scored rollout counts as a critique (`critiques`), an unscored rollout
    as an abstention (`abstained`, `uncritiqued`), and the tokens that the model reads as those of a critic.
    """

    def __init__(self, *, scorer: Scorer, **kwargs: Any) -> None:
        self.scorer = scorer
        self.scored: list[ScoredSolution] = []  # of the batch, one per rollout
        super().__init__(**kwargs)
        scorer.to(self.accelerator.device)

    def find_evidence(self) -> Evidence:
        """Score the rollouts, and report the cost and the metrics of scores."""
        began = time.perf_counter()
        rows = list(zip(self.problems, self.alignment.steps, strict=True))
        self.scored = self.scorer.score([(problem.prompt, steps) for problem, steps in rows])
        seconds = time.perf_counter() - began
        self.report({**measure_scored(self.scored), "seconds_critique": seconds, "critic_wait": seconds})
        scores = [each.scores or (np.nan,) * len(steps) for each, (_, steps) in zip(self.scored, rows, strict=True)]
        return Evidence(scores=np.concatenate(scores))

    def judgment(self, row: int) -> dict[str, Any]:
        """Return the scores of a rollout's steps, or the reason why there are none."""
        return {"scored": self.scored[row]}

    def rollouts_kept(self) -> None:
        """Stop training if too many rollouts have no scores.

        Raises:
            CriticFailingError: More rollouts have no scores than the settings allow.
        """
        reasons = Counter[str](each.unscored for each in self.scored if each.unscored)
        unscored, asked, why = self.count_failures(reasons, len(self.scored))
        limit = self.config.prm.max_unscored
        if unscored > limit * asked:
            raise CriticFailingError(
                f"{unscored} of {asked} rollouts of this step could not be scored ({why}), more than prm.max_unscored "
                f"{limit}; name a model that reads them, or raise the limit"
            )


def train(run: TrainRun) -> bool:
    """Train with the process reward model of the settings; see `train_policy`.

    Raises:
        ValueError: The model is the embedded one but was not trained, or it is no process reward model.
    """
    params = run.config.prm
    if params.taught is not None and run.prm is None:
        raise ValueError("prm.model is 'embedded' but none was taught; teach it first, or name a folder or repository")
    scorer = Scorer(params, params.model if params.taught is None else str(run.prm))
    return train_policy(run, ScoredTrainer, params.segmenter, scorer.parameters, scorer=scorer)
