"""What methods with a process reward model share: scoring a batch, what it cost, and giving up when it fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from trainers.credit.advantages import group_moments
from trainers.credit.assign import process_signal_only
from trainers.criticised import CriticFailingError
from trainers.methods import TrainRun
from trainers.policy import PolicyTrainer, train_policy
from trainers.prm.returns import StepRewards, part_stats, reward_table, step_advantages
from trainers.prm.scorer import Scored, Scorer

HALF = 0.5
"""A step whose score is below this counts as flagged."""


class ScoredTrainer(PolicyTrainer):
    """A policy trainer whose advantages come from the scores of steps.

    Its step records use the names of critics: a rollout that is scored is a critique (`critiques`), one that is not an
    abstention (`abstained`, `uncritiqued`), and the tokens that the model reads are a critic's.

    Args:
        scorer: The process reward model.
        step_rewards: What the method makes of a rollout's scores.
        kwargs: What `PolicyTrainer` takes.
    """

    def __init__(self, *, scorer: Scorer, step_rewards: StepRewards, **kwargs: Any) -> None:
        self.scorer, self.step_rewards = scorer, step_rewards
        super().__init__(**kwargs)
        scorer.to(self.accelerator.device)

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every token, shape (B, width), over groups that may span processes.

        Raises:
            CriticFailingError: More rollouts are without scores than the settings allow.
        """
        table = reward_table([each.scores for each in self._scored()], self.step_rewards)
        stats = part_stats(self.outcomes, table)
        local = np.column_stack([self.outcomes, stats.reshape(len(stats), -1)])
        everyone = self.accelerator.gather(torch.from_numpy(local).to(self.accelerator.device)).cpu().numpy()
        group_size = self.config.train.group_size
        mean, std = group_moments(everyone[:, 1:].reshape(-1, *stats.shape[1:]), group_size)
        first = self.accelerator.process_index * len(local)
        own = slice(first, first + len(local))
        self.report({"groups_process_signal_only": process_signal_only(everyone[:, 0], std, group_size)})
        index = self.alignment.index
        found = step_advantages(self.outcomes, table, index, self.config.prm.w_whole, (mean[own], std[own]))
        return torch.from_numpy(np.pad(found, ((0, 0), (0, width - found.shape[1]))))

    def _scored(self) -> list[Scored]:
        """Score the rollouts, and report what that took and gave."""
        began = time.perf_counter()
        pairs = zip(self.problems, self.alignment.steps, strict=True)
        scored = self.scorer.score([(problem.prompt, steps) for problem, steps in pairs])
        seconds = time.perf_counter() - began
        self.report({**_told(scored), "seconds_critique": seconds, "critic_wait": seconds})
        self._check_unscored(scored)
        return scored

    def _check_unscored(self, scored: Sequence[Scored]) -> None:
        reasons = Counter(each.unscored for each in scored if each.unscored)
        local = torch.tensor([[reasons.total(), len(scored)]], device=self.accelerator.device)
        # Of all processes: they stop together, or the others wait for one that is gone.
        unscored, asked = self.accelerator.gather(local).sum(dim=0).tolist()
        limit = self.config.prm.max_unscored
        if unscored > limit * asked:
            told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
            raise CriticFailingError(
                f"{unscored} of {asked} rollouts of this step could not be scored ({told or 'in other processes'}), "
                f"more than prm.max_unscored {limit}; name a model that reads them, or raise the limit"
            )


def _told(scored: Sequence[Scored]) -> dict[str, float]:
    known = [each.scores for each in scored if each.scores is not None]
    tokens, unscored = float(sum(each.tokens for each in scored)), float(len(scored) - len(known))
    return {
        "critiques": float(len(scored)),
        "abstained": unscored,
        "uncritiqued": unscored,
        "critic_tokens": tokens,
        "critic_prompt_tokens": tokens,
        "flagged_step_rate": float((np.concatenate(known) < HALF).mean()) if known else float("nan"),
    }


def train_with_prm(run: TrainRun, step_rewards: StepRewards) -> bool:
    """Train with the process reward model of the settings; see `train_policy`.

    Raises:
        ValueError: The model is the embedded one and none was taught, or it is no process reward model.
    """
    params = run.config.prm
    if params.taught is not None and run.prm is None:
        raise ValueError("prm.model is 'embedded' but none was taught; teach it first, or name a folder or repository")
    scorer = Scorer(params, params.model if params.taught is None else str(run.prm))
    extra: dict[str, Any] = {"scorer": scorer, "step_rewards": step_rewards}
    return train_policy(run, ScoredTrainer, params.segmenter, scorer.parameters, **extra)
