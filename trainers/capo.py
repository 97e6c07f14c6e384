"""CAPO: a critic finds the wrong steps of each rollout, and their tokens lose reward.

Source: arXiv 2508.02298. R_{i,t} = r_i · W_whole − penalty(step of t) · W_process, and
A_{i,t} = (R_{i,t} − mean) / std over all tokens of the group's G rollouts; the update is GRPO's, per token.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

from evals.benchmarks import BENCHMARKS
from trainers.credit.advantages import completion_stats, group_moments, normalise
from trainers.credit.arrays import FloatArray
from trainers.credit.assign import Credit, CreditRule, assign, process_signal_only
from trainers.credit.votes import VOTES
from trainers.critics.base import Solution, Surroundings
from trainers.critics.desk import Answers, CriticDesk
from trainers.critics.opening import open_critic
from trainers.methods import TrainRun
from trainers.policy import PolicyTrainer, train_policy


class CriticFailingError(RuntimeError):
    """So many critiques abstained in one step that training on would be something else than CAPO."""


class CapoTrainer(PolicyTrainer):
    """GRPO with an advantage for each token.

    Args:
        desk: Where the critic is asked.
        kwargs: What `PolicyTrainer` takes.
    """

    def __init__(self, *, desk: CriticDesk, **kwargs: Any) -> None:
        self.desk = desk
        self._pending: Future[Answers] | None = None
        super().__init__(**kwargs)
        credit = self.config.credit
        self.rule = CreditRule(VOTES.get(credit.vote), credit.at_least, credit.w_whole, credit.w_process)

    def rollouts_known(self) -> None:
        """Ask the critic; it reads while the answers are verified."""
        pairs = zip(self.problems, self.alignment.steps, strict=True)
        solutions = [Solution(problem, steps) for problem, steps in pairs]
        credit = self.config.credit
        self._pending = self.desk.ask(solutions, credit.critiques, greedy=credit.vote == "greedy")

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every token, shape (B, width)."""
        assert self._pending is not None
        began = time.perf_counter()
        answers = self._pending.result()
        waited = time.perf_counter() - began
        credit = assign(self.outcomes, answers.critiques, self.alignment, self.rule)
        advantages, signal = self._normalised(credit)
        self.report({**self._critic_metrics(answers, credit), "critic_wait": waited, **signal})
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

    def _critic_metrics(self, answers: Answers, credit: Credit) -> dict[str, float]:
        critiques = [critique for row in answers.critiques for critique in row]
        abstained = credit.metrics["abstained"]
        if abstained > self.config.credit.max_abstained * len(critiques):
            reasons = sorted({critique.abstained for critique in critiques if critique.abstained})
            raise CriticFailingError(
                f"{abstained:.0f} of {len(critiques)} critiques of this step abstained ({', '.join(reasons)}), more "
                f"than credit.max_abstained {self.config.credit.max_abstained}; mend the critic, or raise the limit"
            )
        return {
            "flagged_step_rate": credit.metrics.get("flagged_step_rate", float("nan")),
            "penalised_tokens": credit.metrics.get("penalised_tokens", float("nan")),
            "vote_agreement": credit.metrics.get("vote_agreement", float("nan")),
            "critiques": float(len(critiques)),
            "abstained": abstained,
            "uncritiqued": credit.metrics["uncritiqued"],
            "critic_tokens": float(sum(c.usage.prompt_tokens + c.usage.output_tokens for c in critiques)),
            "seconds_critique": answers.seconds,
        }


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    surroundings = Surroundings(BENCHMARKS.get(run.config.benchmark), run.seed)
    critic = open_critic(run.config.critic, surroundings, cache=None)
    desk = CriticDesk(critic)
    try:
        return train_policy(run, CapoTrainer, run.config.credit.segmenter, desk=desk)
    finally:
        desk.close()
