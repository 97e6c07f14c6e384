"""Dr. GRPO: GRPO without two divisions that bias it, by the length of a response and by the group's standard deviation.

Source: arXiv 2503.20783. A_i = r_i − mean r over the G rollouts of a group, and the loss of a batch of B rollouts is
−(1 / (B · L_max)) Σ_i Σ_t min(ρ_{i,t} A_i, clip(ρ_{i,t}, 1 − ε, 1 + ε) A_i), with the constant L_max =
`train.max_completion_tokens` instead of each response's own length. TRL implements both: `scale_rewards="none"` and
`loss_type="dr_grpo"`.
"""

from __future__ import annotations

from typing import Any

from trainers.config import TrainConfig
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun


class DrGrpoTrainer(PolicyTrainer):
    """GRPO with constants instead of both divisors."""

    @classmethod
    def overrides(cls, train: TrainConfig) -> dict[str, Any]:
        """Return the loss and the scaling of Dr. GRPO."""
        return {"loss_type": "dr_grpo", "scale_rewards": "none"}


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, DrGrpoTrainer, run.config.evaluation.segmenter)
