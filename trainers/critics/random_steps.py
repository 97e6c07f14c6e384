"""Define the random critic: it flags every step with the same probability, regardless of its content.

It is a control: it charges as often as another critic, without information about the solution. The rate is a setting
and is not measured on the batch, for two reasons. A critique depends on its solution and index alone, so that it is the
same in any batch, on any number of processes and after a resume. And the rates of a trial's later steps are unknown
when it begins. Set the rate to the `flagged_step_rate` of the critic that it is compared with, over the steps of that
critic's trial.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from evals.benchmarks import Benchmark
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.critics.base import Solution
from trainers.critics.draws import DrawnParams, Probability


class RandomParams(DrawnParams):
    """Settings of the random critic, which needs no checker.

    Attributes:
        rate: Probability that a step is flagged. The default is about the average rate of the exact critic over the
            steps of a short training on coins (the report of `critic_quality` shows it).
    """

    name: Literal["random"] = "random"
    rate: Probability = 0.2

    def flags(self, solution: Solution, benchmark: Benchmark, draws: FloatArray) -> BoolArray:
        """Flag the steps whose draw is below the rate, shape (k, steps)."""
        return np.asarray(draws < self.rate)
