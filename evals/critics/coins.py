"""Draw solutions of coins with errors, labelled by the exact checker."""

from __future__ import annotations

import random

from evals.benchmarks import Problem
from evals.coins import COINS as BENCHMARK
from evals.coins.problems import MEASURED, read
from evals.coins.pupil import MISCONCEPTIONS, Pupil
from evals.coins.solutions import SEPARATOR, demonstrate
from evals.critics.data import Loaded, Selection, check_subsets
from evals.critics.labels import LabelledSolution, label_exactly
from evals.tasks.rows import DataErrors

PUPILS = (Pupil(slip=0.1), Pupil(slip=0.25), *(Pupil(MISCONCEPTIONS, belief, 0.05) for belief in (0.2, 0.5, 0.8)))
"""The pupils that write the solutions, in turn: some make random slips, others have misconceptions."""

COUNT = 400
"""Number of solutions of each split if no limit is given."""


class CoinsSolutions:
    """Demonstrations on problems of held-out splits that no training uses; ``test`` by default.

    Wrong steps are sums with a slip or a misconception. Errors of policies are more varied.
    """

    name = "coins"
    benchmark: str | None = "coins"
    first_error = False

    def load(self, selection: Selection) -> Loaded:
        """Draw solutions: `limit` in total, as equally many of each split as possible."""
        if selection.source is not None:
            raise DataErrors([f"--data-dir {selection.source}: coins is drawn, not read; leave --data-dir out"])
        splits = check_subsets(self.name, selection.subsets or ("test",), MEASURED)
        together = len(splits) * COUNT if selection.limit is None else selection.limit
        counts = [together // len(splits) + (place < together % len(splits)) for place in range(len(splits))]
        solutions = [
            _label(problem, split, number, selection.seed)
            for split, count in zip(splits, counts, strict=True)
            for number, problem in enumerate(BENCHMARK.problems(split, count, selection.seed))
        ]
        return Loaded(solutions, source=f"drawn with seed {selection.seed}, by {len(PUPILS)} pupils in turn")


def _label(problem: Problem, split: str, number: int, seed: int) -> LabelledSolution:
    rng = random.Random(f"labelled coins/{split}/{seed}/{number}")
    steps = demonstrate(read(problem.prompt), rng, PUPILS[number % len(PUPILS)]).split(SEPARATOR)
    labels = label_exactly(BENCHMARK.check_steps(problem, steps), len(steps), problem.id)
    return LabelledSolution(problem.id, split, problem, tuple(steps), labels)


COINS = CoinsSolutions()
