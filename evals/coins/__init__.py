"""Coins, the embedded benchmark: running totals in words, with an exact checker of every step.

With coins, the whole harness can run for real on a laptop: a model of half a million parameters learns it in a minute,
its mistakes are graded step by step without a judge, and reinforcement learning can still improve on the cold start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from evals.benchmarks import Problem, StepCheck
from evals.coins.problems import SPLITS, draw, read
from evals.coins.solutions import check


class Coins:
    """The benchmark coins."""

    name = "coins"
    splits: Sequence[str] = tuple(SPLITS)
    checks_steps = True

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Return `count` problems of `split`; the same arguments give the same problems."""
        return draw(split, count, seed)

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Return which of the steps are wrong, exactly."""
        return check(read(problem.prompt), steps)

    def fingerprint(self) -> str:
        """Return a short hash over a sample of every split."""
        sample = {split: [(p.prompt, p.answer) for p in draw(split, 16, 0)] for split in SPLITS}
        return hashlib.sha256(json.dumps(sample, sort_keys=True).encode()).hexdigest()[:12]


COINS = Coins()
