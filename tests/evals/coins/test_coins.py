from __future__ import annotations

import subprocess
import sys

import pytest

from evals.benchmarks import BENCHMARKS, StepCheck
from evals.coins import COINS, Coins
from evals.coins import problems as module
from evals.coins.problems import SPLITS


def test_it_is_the_benchmark_of_its_name():
    assert BENCHMARKS.get("coins") is COINS
    assert tuple(COINS.splits) == ("train", "lessons", "reviews", "test", "longer", "distractors", "unseen")


def test_problems_are_those_of_the_split():
    assert COINS.problems("test", 3, 5) == module.draw("test", 3, 5)
    assert COINS.problems("test", 3) == module.draw("test", 3, 0)


@pytest.mark.parametrize("split", SPLITS)
def test_steps_are_checked_against_the_problem_itself(split):
    problem = COINS.problems(split, 1)[0]
    chain = module.read(problem.prompt)
    (sign, operand), total = chain.operations[0], chain.totals()[0]
    step = f"{chain.start} {sign} {operand} = {total}"
    slip = f"{chain.start} {sign} {operand} = {total + 1}"
    assert COINS.check_steps(problem, [step]) == StepCheck(frozenset(), frozenset())
    assert COINS.check_steps(problem, [slip]) == StepCheck(frozenset({0}), frozenset())


def test_the_fingerprint_is_the_same_in_every_process():
    code = "from evals.coins import COINS; print(COINS.fingerprint())"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert other.stdout.strip() == COINS.fingerprint()


def test_the_fingerprint_changes_with_the_data(monkeypatch):
    before = COINS.fingerprint()
    monkeypatch.setattr(module, "LIMIT", 19)
    module._list_possible.cache_clear()
    try:
        assert Coins().fingerprint() != before
    finally:
        module._list_possible.cache_clear()
