"""Define the shuffled critic: it flags as many steps as the exact critic, but random steps of the same rollout.

It is a control: its flags show how many steps of a rollout are wrong, but not which. Steps differ in length, so the
number of charged tokens is the same only on average, not in each rollout. The method `spread` keeps the charge of each
rollout.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from evals.benchmarks import Benchmark
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.critics.base import Solution
from trainers.critics.draws import DrawnParams
from trainers.critics.exact import find_wrong_steps


class ShuffledParams(DrawnParams):
    """Settings of the shuffled critic; there are none.

    Each set of steps of that size is equally likely, and every critique draws independently.
    """

    asks_checker: ClassVar[bool] = True
    name: Literal["shuffled"] = "shuffled"

    def flags(self, solution: Solution, benchmark: Benchmark, draws: FloatArray) -> BoolArray:
        """Flag the steps with the lowest draws, as many as are wrong, shape (k, steps)."""
        ranks = draws.argsort(axis=1).argsort(axis=1)
        return np.asarray(ranks < len(find_wrong_steps(benchmark, solution)))
