"""DAPO: GRPO with a token-level loss, a higher upper clip, a soft length penalty and no loss on truncated rollouts.

Source: arXiv 2503.14476. R_i = (1 if the answer is right, else −1) + R_length(|o_i|), A_i = (R_i − mean R) / (std R +
1e-4) over the G rollouts of a group, and the loss is −(1 / Σ_i |o_i|) Σ_i Σ_t min(ρ_{i,t} A_i, clip(ρ_{i,t}, 1 − ε_low,
1 + ε_high) A_i): every token of the batch has the same weight. With L_max = `train.max_completion_tokens` and L_cache a
fifth of it (the paper: 4,096 of 20,480), R_length is 0 up to L_max − L_cache, then falls linearly to −1 at L_max.

TRL implements the loss (`loss_type="dapo"`), the two clips (`epsilon`, `epsilon_high`), overlong filtering
(`mask_truncated_completions`: a rollout without an end token counts in its group and has no loss) and the soft overlong
punishment. The reward that adds them up is ours. If `train.clip.lower` is changed and `train.clip.upper` is not set,
ε_high keeps the paper's ratio of 0.28 to 0.2. With one update per batch neither clip has an effect.

Dynamic sampling is left out: it samples further prompts until each group of a batch has right and wrong answers. TRL
1.16 does not implement it, nor does this module. A group whose rewards are equal has advantage 0, but its tokens still
count in the divisor of the loss, and `groups_without_outcome_signal` counts such groups. There is no KL term unless
`train.kl` sets one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from trl.rewards.other_rewards import get_soft_overlong_punishment

from trainers.config import TrainConfig
from trainers.credit.arrays import FloatArray, IntArray
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun

CLIP_HIGHER = 1.4
"""Ratio of ε_high to ε_low: the paper's 0.28 / 0.2."""

CACHE = 5
"""Ratio of L_max to L_cache: the paper's 20,480 / 4,096 tokens."""


class DapoTrainer(PolicyTrainer):
    """GRPO with DAPO's changes."""

    @classmethod
    def overrides(cls, train: TrainConfig) -> dict[str, Any]:
        """Return DAPO's loss, its upper clip and its overlong filtering."""
        return {
            "loss_type": "dapo",
            **({} if train.clip.upper else {"epsilon_high": CLIP_HIGHER * train.clip.lower}),
            "mask_truncated_completions": True,
        }

    def reward(self) -> FloatArray:
        """Return the outcome (1 or −1) plus the length penalty, shape (B,); NaN where it could not be verified."""
        lengths = (self.alignment.index >= 0).sum(axis=1)
        return 2 * self.outcomes - 1 + punish_overlong(lengths, self.config.train.max_completion_tokens)


def punish_overlong(lengths: IntArray, most: int) -> FloatArray:
    """Return the soft overlong punishment (paper, equation 13) of lengths in tokens, shape (B,), in [−1, 0]."""
    punish = get_soft_overlong_punishment(most, most // CACHE)
    return np.array(punish([range(length) for length in lengths.tolist()]), dtype=np.float64)


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, DapoTrainer, run.config.evaluation.segmenter)
