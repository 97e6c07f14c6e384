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
from trainers.critics.draws import draw_for_steps
from trainers.critics.noisy import NoisyParams

RIGHT, WRONG = "1+1=2", "1+1=3"


def solution(number=0, steps=(RIGHT, WRONG, RIGHT, WRONG)):
    return Solution(Problem(f"sums/test/{number}", "add", "0"), tuple(steps))


def flagged(sums, solutions, k, seed=0, greedy=False, **rates):
    critic = NoisyParams(**rates).build(Surroundings(sums, seed))
    answers = asyncio.run(critic.critique(solutions, k, greedy=greedy))
    return [[critique.wrong for critique in row] for row in answers]


@pytest.mark.parametrize(
    ("false_alarm", "miss", "expected"),
    [(0.0, 0.0, {1, 3}), (1.0, 0.0, {0, 1, 2, 3}), (0.0, 1.0, set()), (1.0, 1.0, {0, 2})],
)
def test_rates_of_nought_and_one_leave_nothing_to_chance(sums, false_alarm, miss, expected):
    assert flagged(sums, [solution()], 3, false_alarm=false_alarm, miss=miss) == [[expected] * 3]


def test_the_rates_are_met(sums):
    steps = (RIGHT, WRONG) * 10
    rows = flagged(sums, [solution(number, steps) for number in range(100)], 4, false_alarm=0.2, miss=0.4)
    flags = np.array([[[step in wrong for step in range(20)] for wrong in row] for row in rows])
    # 4,000 draws each: five standard errors are 0.032 and 0.039.
    assert flags[..., 0::2].mean() == pytest.approx(0.2, abs=0.032)
    assert 1 - flags[..., 1::2].mean() == pytest.approx(0.4, abs=0.039)


def test_critiques_of_a_solution_are_independent(sums):
    rows = flagged(sums, [solution(number, [RIGHT] * 10) for number in range(200)], 2, false_alarm=0.5)
    flags = np.array([[[step in wrong for step in range(10)] for wrong in row] for row in rows])
    # 2,000 pairs agree half of the time; five standard errors are 0.056.
    assert (flags[:, 0] == flags[:, 1]).mean() == pytest.approx(0.5, abs=0.056)


def test_the_same_solution_is_judged_the_same_in_any_batch(sums):
    batch = [solution(number) for number in range(8)]
    together = flagged(sums, batch, 4)
    assert flagged(sums, batch[::-1], 4) == together[::-1]
    assert [flagged(sums, [one], 4)[0] for one in batch] == together


def test_more_critiques_leave_the_first_as_they_were(sums):
    assert [row[:2] for row in flagged(sums, [solution()], 8)] == flagged(sums, [solution()], 2)
    assert draw_for_steps(0, solution(), 8)[3:].tolist() == draw_for_steps(0, solution(), 5, first=3).tolist()


def test_greedy_is_critique_nought(sums):
    assert flagged(sums, [solution()], 1, greedy=True)[0][0] == flagged(sums, [solution()], 4)[0][0]


def test_seed_problem_and_every_step_count():
    base = draw_for_steps(0, solution(), 2)
    others = [
        draw_for_steps(1, solution(), 2),
        draw_for_steps(0, solution(1), 2),
        draw_for_steps(0, solution(steps=(RIGHT, WRONG, RIGHT, "1+1=4")), 2),
    ]
    assert all((other != base).all() for other in others)


def test_draws_never_change():
    """Results on disk rest on them: other numbers here would be another critic under the same name."""
    draws = draw_for_steps(7, Solution(Problem("sums/test/3", "", ""), ("1+1=2", "é")), 2)
    assert draws.round(6).tolist() == [[0.435135, 0.339343], [0.256805, 0.753114]]


@given(steps=st.lists(st.text(max_size=5), max_size=6), k=st.integers(1, 3))
def test_draws_are_numbers_from_nought_to_below_one(steps, k):
    draws = draw_for_steps(0, solution(steps=steps), k)
    assert draws.shape == (k, len(steps))
    assert ((draws >= 0) & (draws < 1)).all()


def test_a_study_names_it_and_its_rates():
    config = TrialConfig.model_validate({"critic": {"name": "noisy", "miss": 0.1}})
    assert config.critic == NoisyParams(false_alarm=0.3, miss=0.1)


@pytest.mark.parametrize("rates", [{"miss": 1.1}, {"false_alarm": -0.1}, {"misses": 0.1}])
def test_a_rate_is_a_probability(rates):
    with pytest.raises(ValidationError):
        TrialConfig.model_validate({"critic": {"name": "noisy", **rates}})
