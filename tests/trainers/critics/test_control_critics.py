"""Critics that are controls: `shuffled` and `random`."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evals.benchmarks import Problem
from trainers.config import TrialConfig
from trainers.critics.base import Solution, Surroundings
from trainers.critics.random_steps import RandomParams
from trainers.critics.shuffled import ShuffledParams

RIGHT, WRONG = "1+1=2", "1+1=3"
EITHER = [ShuffledParams(), RandomParams(rate=0.4)]


def solution(number=0, steps=(RIGHT, WRONG, RIGHT, WRONG)):
    return Solution(Problem(f"sums/test/{number}", "add", "0"), tuple(steps))


def flagged(sums, params, solutions, k, seed=0, first=0, greedy=False):
    critic = params.build(Surroundings(sums, seed))
    answers = asyncio.run(critic.critique(solutions, k, first=first, greedy=greedy))
    return [[critique.wrong for critique in row] for row in answers]


@given(slips=st.lists(st.booleans(), max_size=8), k=st.integers(1, 4), seed=st.integers(0, 3))
def test_shuffled_flags_as_many_steps_as_are_wrong(sums, slips, k, seed):
    asked = solution(steps=[WRONG if slip else RIGHT for slip in slips])
    (row,) = flagged(sums, ShuffledParams(), [asked], k, seed)
    assert [len(wrong) for wrong in row] == [sum(slips)] * k
    assert all(0 <= step < len(slips) for wrong in row for step in wrong)


def test_shuffled_flags_any_step_alike(sums):
    asked = [solution(number, (WRONG, RIGHT, RIGHT, RIGHT)) for number in range(1000)]
    rows = flagged(sums, ShuffledParams(), asked, 4)
    counts = np.bincount([step for row in rows for (step,) in row], minlength=4)
    # 4,000 draws of one step in four: five standard errors are 0.034.
    assert (counts / 4000).tolist() == pytest.approx([0.25] * 4, abs=0.034)


def test_random_flags_at_its_rate_right_and_wrong_steps_alike(sums):
    rows = flagged(sums, RandomParams(rate=0.3), [solution(n, (RIGHT, WRONG) * 10) for n in range(100)], 4)
    flags = np.array([[[step in wrong for step in range(20)] for wrong in row] for row in rows])
    # 4,000 draws each: five standard errors are 0.036.
    assert flags[..., 0::2].mean() == pytest.approx(0.3, abs=0.036)
    assert flags[..., 1::2].mean() == pytest.approx(0.3, abs=0.036)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, set()), (1.0, {0, 1, 2, 3})])
def test_rates_of_nought_and_one_leave_nothing_to_chance(sums, rate, expected):
    assert flagged(sums, RandomParams(rate=rate), [solution()], 2) == [[expected] * 2]


@pytest.mark.parametrize("params", EITHER, ids=lambda params: params.name)
def test_a_critique_depends_on_seed_solution_and_index_alone(sums, params):
    batch = [solution(number) for number in range(16)]
    together = flagged(sums, params, batch, 4)
    assert flagged(sums, params, batch[::-1], 4) == together[::-1]
    assert [flagged(sums, params, [one], 4)[0] for one in batch] == together
    assert [row[2:] for row in together] == flagged(sums, params, batch, 2, first=2)
    assert together == flagged(sums, params, batch, 4, greedy=True)
    assert together != flagged(sums, params, batch, 4, seed=1)


def test_studies_name_them_in_few_words():
    assert TrialConfig.model_validate({"critic": {"name": "shuffled"}}).critic == ShuffledParams()
    assert TrialConfig.model_validate({"critic": {"name": "random", "rate": 0.2}}).critic == RandomParams(rate=0.2)
    for settings in ({"name": "shuffled", "rate": 0.1}, {"name": "random", "rate": 1.5}):
        with pytest.raises(ValidationError):
            TrialConfig.model_validate({"critic": settings})
