"""RLOO: REINFORCE with the mean reward of the other rollouts of the group as baseline.

Source: arXiv 2402.14740. A_i = r_i − (1 / (n − 1)) Σ_{j≠i} r_j over the n rollouts of the group that have a reward, and
the gradient is that of −(1 / B) Σ_i A_i log π(o_i): a rollout is one action, so the gradients of its tokens are summed,
not averaged. This is TRL's `loss_type="luspo"` with the geometric mean of a rollout's ratios, clipped by `train.clip`.
At ratio 1, as with one update per batch, it has the gradient of TRL's own `RLOOTrainer`. This class is used instead
because it reports the metrics that every method reports. One difference remains: `train.kl`, if set, is GRPO's term of
the loss, not part of the reward.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from trainers.config import TrainConfig
from trainers.credit.arrays import FloatArray
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun


class RlooTrainer(PolicyTrainer):
    """REINFORCE with the leave-one-out baseline."""

    @classmethod
    def overrides(cls, train: TrainConfig) -> dict[str, Any]:
        """Return settings with a loss that sums over the tokens of a rollout."""
        return {"loss_type": "luspo", "importance_sampling_level": "sequence", "scale_rewards": "none"}

    def advantages(self, width: int) -> torch.Tensor:
        """Return the advantage of every rollout, shape (B,); groups may span processes."""
        local = torch.from_numpy(self.outcomes).to(self.accelerator.device)
        everyone = self.accelerator.gather(local).cpu().numpy()
        first = self.accelerator.process_index * len(local)
        baselined = leave_one_out(everyone, self.config.train.group_size)
        return torch.from_numpy(baselined[first : first + len(local)])


def leave_one_out(rewards: FloatArray, group_size: int) -> FloatArray:
    """Return each reward minus the mean of the other rewards of its group, shape (B,).

    Args:
        rewards: Shape (B,), with adjacent complete groups; NaN for no reward, which no baseline includes.
        group_size: G.

    Returns:
        The advantages; 0 where there is no reward, or no other reward in the group.
    """
    groups = rewards.reshape(-1, group_size)
    others = np.sum(~np.isnan(groups), axis=1, keepdims=True) - 1
    sums = np.nansum(groups, axis=1, keepdims=True) - groups
    baselines = np.divide(sums, others, out=np.full_like(groups, np.nan), where=others > 0)
    advantages: FloatArray = np.nan_to_num(groups - baselines).ravel()
    return advantages


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, RlooTrainer, run.config.evaluation.segmenter)
