"""The random critic: flags every step with the same probability, whatever it says.

A control: its charges are as many as another critic's, and carry nothing of the solution. The rate is a setting and not
measured on the batch: a critique is a function of its solution and index alone, so that it is the same in any batch, on
any number of processes and after a resume, and a trial's own later rates are not known when it begins. Set it to the
`flagged_step_rate` of the critic that it stands beside, over the steps of that trial.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trainers.credit.arrays import BoolArray, FloatArray
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings
from trainers.critics.draws import DrawingCritic, Probability


class RandomCritic(DrawingCritic):
    """Flags each step with one probability."""

    def __init__(self, seed: int, rate: float) -> None:
        super().__init__(seed)
        self._rate = rate

    def flags(self, solution: Solution, draws: FloatArray) -> BoolArray:
        """Flag the steps whose draw is below the rate, shape (k, steps)."""
        return np.asarray(draws < self._rate)


class RandomParams(CriticParams):
    """Settings of the random critic, which asks no checker.

    Attributes:
        rate: Probability that a step is flagged; by default about what the exact critic flags on average over the steps
            of a short training on coins (the report of `critic_quality` says how much it was).
    """

    name: Literal["random"] = "random"
    rate: Probability = 0.2

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic, drawing with the trial's seed."""
        return RandomCritic(surroundings.seed, self.rate)
