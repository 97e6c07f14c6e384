"""Coins as a data set of labelled steps: held out, drawn again the same, labelled by the checker."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.coins import COINS as BENCHMARK
from evals.critics.coins import COINS, COUNT, PUPILS
from evals.critics.data import Selection
from evals.tasks.rows import DataErrors


def test_labels_are_the_checkers_and_every_step_has_one():
    for solution in COINS.load(Selection(limit=50)).solutions:
        check = BENCHMARK.check_steps(solution.problem, solution.steps)
        assert solution.labels.wrong == check.wrong
        assert solution.labels.labelled == set(range(len(solution.steps)))


def test_pupils_go_wrong_at_their_rates():
    solutions = COINS.load(Selection(limit=2500)).solutions
    rates = []
    for turn in range(len(PUPILS)):
        mine = [solution.labels for solution in solutions[turn :: len(PUPILS)]]
        # The answer, one step a solution, is never wrong in itself.
        rates.append(sum(len(label.wrong) for label in mine) / sum(label.steps - 1 for label in mine))
    assert rates[:2] == pytest.approx([0.1, 0.25], abs=0.03)  # slips at random, where one stays in range
    assert rates[2] < rates[3] < rates[4]  # the more they believe their wrong rules
    assert 0.15 < rates[4] < 0.3


def test_the_same_seed_draws_the_same_and_more_begin_alike():
    few, many, other = (COINS.load(Selection(limit=n, seed=seed)).solutions for n, seed in ((5, 0), (9, 0), (5, 1)))
    assert many[:5] == few
    assert {s.problem.prompt for s in few}.isdisjoint(s.problem.prompt for s in other)


def test_splits_share_the_limit_and_training_is_none_of_them():
    found = COINS.load(Selection(subsets=("longer", "test"), limit=5)).solutions
    assert [solution.subset for solution in found] == ["longer"] * 3 + ["test"] * 2
    assert len(COINS.load(Selection()).solutions) == COUNT
    with pytest.raises(DataErrors, match="unknown subset 'train'; known: test, longer, distractors, unseen"):
        COINS.load(Selection(subsets=("train",)))


def test_there_is_no_file_to_read():
    with pytest.raises(DataErrors, match="coins is drawn, not read; leave --data-dir out"):
        COINS.load(Selection(source=Path("x")))
