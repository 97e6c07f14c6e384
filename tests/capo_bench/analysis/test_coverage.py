"""How often the report's interval holds the truth where answers are right or wrong, as they are.

`python -m benchmarks.coverage` measures the same on a grid; here are the parts that must not get worse.
"""

import math

import numpy as np
import pytest
from scipy.special import expit

from capo_bench.analysis.stats import LEVEL, estimate_mean

STUDIES, PROBLEMS, EASE, GAIN = 400, 64, 1.5, 0.5
LOWEST = LEVEL - 3 * math.sqrt(LEVEL * (1 - LEVEL) / STUDIES)
"""Three standard errors below what is promised; an interval that holds the truth more often is no fault."""


def draw(rng: np.random.Generator, seeds: int, problems: int, luck: float) -> np.ndarray:
    """Return differences of a study whose problems suit variant and baseline alike (correlation 0.8)."""
    ease = rng.normal(size=(1, problems))
    own = 0.8 * ease + 0.6 * rng.normal(size=(1, problems))

    def train(level: float, suits: np.ndarray) -> np.ndarray:
        chance = expit(level + EASE * suits + luck * rng.normal(size=(seeds, 1)))
        return (rng.random((seeds, problems)) < chance).astype(float)

    return train(GAIN, own) - train(0.0, ease)


def truth(luck: float) -> float:
    """Return the difference of the two means over all seeds and problems, from many draws of the log odds."""
    odds = math.hypot(EASE, luck) * np.random.default_rng(0).normal(size=1_000_000)
    return float(expit(GAIN + odds).mean() - expit(odds).mean())


@pytest.mark.parametrize("luck", [0.2, 0.5])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_of_the_report_holds_the_truth_as_often_as_it_says(seeds, luck):
    rng, true = np.random.default_rng([seeds, int(10 * luck)]), truth(luck)
    found = [estimate_mean(draw(rng, seeds, PROBLEMS, luck)) for _ in range(STUDIES)]
    assert sum(one.low <= true <= one.high for one in found) / STUDIES >= LOWEST
