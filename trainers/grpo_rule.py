"""GRPO-Rule: the verifier's outcome is the only reward, with one advantage for all tokens of a rollout.

Source: paper, baselines; GRPO is arXiv 2402.03300. A_i = (r_i − mean r) / (std r + 1e-4) over the G rollouts of a
group, computed by TRL with the sample standard deviation.
"""

from __future__ import annotations

from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    return train_policy(run, PolicyTrainer, run.config.evaluation.segmenter)
