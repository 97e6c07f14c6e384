"""Define the noisy critic: the exact checker with set error rates, to study how good a critic must be."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from evals.benchmarks import Benchmark
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.critics.base import Solution
from trainers.critics.draws import DrawnParams, Probability
from trainers.critics.exact import find_wrong_steps


class NoisyParams(DrawnParams):
    """Settings of the noisy critic: it flips the exact verdict of every step, independently for each critique.

    Attributes:
        false_alarm: Probability that a right step is flagged.
        miss: Probability that a wrong step is not flagged.
    """

    asks_checker: ClassVar[bool] = True
    name: Literal["noisy"] = "noisy"
    false_alarm: Probability = 0.3
    miss: Probability = 0.3

    def flags(self, solution: Solution, benchmark: Benchmark, draws: FloatArray) -> BoolArray:
        """Return the exact verdict of every step, flipped where its draw is below its error rate, shape (k, steps)."""
        exact = find_wrong_steps(benchmark, solution)
        wrong = np.array([step in exact for step in range(len(solution.steps))], dtype=np.bool_)
        return np.asarray(wrong ^ (draws < np.where(wrong, self.miss, self.false_alarm)))
