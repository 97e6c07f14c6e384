"""Sum credit of a process reward model: a token answers for its step and all that follow, added up.

Source: GRPO with process supervision (DeepSeekMath, arXiv 2402.03300, section 4.1.3). The reward of a step is its
score, u_{i,s} = p_{i,s}, the probability that it is right; normalisation, the sum over the steps that follow, and how
the outcome enters stand in `trainers.prm.returns`. There is no discount. A score of the middle of the group is worth
nothing, so that neither more nor fewer steps pay by themselves; yet a long row of steps that the model likes outweighs
a wrong one among them, which is what `prm_min` is against.
"""

from __future__ import annotations

from trainers.credit.arrays import FloatArray
from trainers.methods import TrainRun
from trainers.prm.config import PrmConfig
from trainers.prm.returns import StepRewards


def as_scored(scores: FloatArray) -> FloatArray:
    """Return the scores as the rewards of their steps."""
    return scores


def step_rewards(prm: PrmConfig) -> StepRewards:
    """Return what this method makes of the scores of steps, whatever the settings."""
    return as_scored


def train(run: TrainRun) -> bool:
    """Train; see `train_policy`."""
    from trainers.prm.trainer import train_with_prm

    return train_with_prm(run)
