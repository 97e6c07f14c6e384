from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from evals.benchmarks import Problem
from trainers.config import TrialConfig
from trainers.credit.critique import Critique
from trainers.critics.base import Solution, Surroundings
from trainers.critics.exact import ExactParams

PROBLEM = Problem("sums/test/0", "add", "0")
SLIPPED = Solution(PROBLEM, ("1+2=3", "3+4=8", "8+1=9~", "gibberish"))
CLEAN = Solution(PROBLEM, ("1+2=3", "3+4=7"))


def critiques(sums, solutions, k, **options):
    return asyncio.run(ExactParams().build(Surroundings(sums, seed=0)).critique(solutions, k, **options))


def test_only_steps_wrong_in_themselves_are_flagged(sums):
    assert critiques(sums, [SLIPPED], 1) == [[Critique(frozenset({1, 3}))]]


def test_a_clean_solution_is_answered_with_no_step(sums):
    assert critiques(sums, [CLEAN], 1) == [[Critique(frozenset())]]


def test_all_critiques_of_a_solution_are_equal_in_the_order_of_solutions(sums):
    assert critiques(sums, [CLEAN, SLIPPED], 3) == [[Critique(frozenset())] * 3, [Critique(frozenset({1, 3}))] * 3]


def test_greedy_changes_nothing(sums):
    assert critiques(sums, [SLIPPED], 1, greedy=True) == critiques(sums, [SLIPPED], 1)


def test_nothing_in_nothing_out(sums):
    assert critiques(sums, [], 4) == []


def test_a_study_names_it_and_may_set_nothing():
    assert TrialConfig.model_validate({"critic": {"name": "exact"}}).critic == ExactParams()
    with pytest.raises(ValidationError, match="miss"):
        TrialConfig.model_validate({"critic": {"name": "exact", "miss": 0.1}})
