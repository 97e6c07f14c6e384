"""Define the noisy critic: the exact checker with set error rates, to study how good a critic must be."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from evals.benchmarks import Benchmark
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings
from trainers.critics.draws import DrawingCritic, Probability
from trainers.critics.exact import find_wrong_steps


class NoisyCritic(DrawingCritic):
    """Flips the exact verdict of every step with a set probability, independently for each critique."""

    def __init__(self, benchmark: Benchmark, seed: int, false_alarm: float, miss: float) -> None:
        super().__init__(seed)
        self._benchmark, self._false_alarm, self._miss = benchmark, false_alarm, miss

    def flags(self, solution: Solution, draws: FloatArray) -> BoolArray:
        """Return the exact verdict of every step, flipped where its draw is below its error rate, shape (k, steps)."""
        exact = find_wrong_steps(self._benchmark, solution)
        wrong = np.array([step in exact for step in range(len(solution.steps))], dtype=np.bool_)
        return np.asarray(wrong ^ (draws < np.where(wrong, self._miss, self._false_alarm)))


class NoisyParams(CriticParams):
    """Settings of the noisy critic.

    Attributes:
        false_alarm: Probability that a right step is flagged.
        miss: Probability that a wrong step is not flagged.
    """

    asks_checker: ClassVar[bool] = True
    name: Literal["noisy"] = "noisy"
    false_alarm: Probability = 0.3
    miss: Probability = 0.3

    def build(self, surroundings: Surroundings) -> Critic:
        """Return the critic; it draws with the trial's seed."""
        return NoisyCritic(surroundings.benchmark, surroundings.seed, self.false_alarm, self.miss)
