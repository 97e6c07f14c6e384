"""What went wrong in training: read from step records, put into sentences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from summaries import ACCURACY, BASE, cell, row, summary

from capo_bench.analysis.answer import answer
from capo_bench.analysis.health import Health, average_health, has_collapsed, read_health


def step(**record: Any) -> dict[str, Any]:
    return {"step": 1, "grad_norm": 0.5, "truncated": 0.0, **record}


def test_steps_without_a_gradient_and_cut_rollouts_are_counted_over_all_seeds() -> None:
    runs = [[step(grad_norm=0.0, truncated=1.0)] * 2, [step(grad_norm=0.0, truncated=0.5), step(truncated=0.5)]]
    found = average_health(map(read_health, runs))
    assert found == Health(4, 3, truncated=0.75, groups_without_signal=None, single_step_responses=None)


def test_a_group_that_the_critics_told_apart_is_not_without_signal() -> None:
    records = [
        step(groups_without_outcome_signal=0.75, groups_process_signal_only=0.5),
        step(groups_without_outcome_signal=0.25),
    ]
    assert average_health([read_health(records)]) == Health(2, 0, 0.0, 0.25, None)


def test_where_nothing_was_trained_there_is_no_health() -> None:
    assert average_health([read_health([])]) is None
    assert average_health([]) is None


@pytest.mark.parametrize(
    ("curve", "collapsed"),
    [
        ([], False),
        ([0.2, 0.4, 0.6], False),
        ([0.2, 0.8, 0.4], False),  # just half
        ([0.2, 0.8, 0.39], True),
        ([0.5] * 20 + [0.0, 0.6] * 10, False),  # one step is no collapse: means over 4 steps
        ([0.5] * 20 + [0.1] * 20, True),
        ([0.0] * 5, False),
    ],
)
def test_a_collapse_is_an_end_below_half_of_the_best(curve: list[float], collapsed: bool) -> None:
    assert has_collapsed(curve) is collapsed


def cautions(**changes: Any) -> tuple[str, ...]:
    return answer(summary(BASE, replace(row("capo", {ACCURACY: cell(0.6, 0.05, holm=0.5)}), **changes))).cautions


def test_rollouts_that_were_all_cut_are_the_first_caution() -> None:
    found = cautions(health=Health(6, 6, 1.0, 1.0, None), failed_critiques=0.2)
    assert found[0] == ("capo: no gradient in 6 of 6 steps, 100 % of rollouts cut, 100 % of groups without signal.")


@pytest.mark.parametrize(
    ("health", "sentence"),
    [
        (Health(40, 0, 0.09, 0.4, 0.4), None),
        (Health(40, 1, 0.0, 0.0, 0.0), "capo: no gradient in 1 of 40 steps."),
        (Health(40, 0, 0.1, 0.0, 0.0), "capo: 10 % of rollouts cut."),
        (Health(40, 0, 0.0, 0.5, 0.0), "capo: 50 % of groups without signal."),
        (
            Health(40, 0, 0.0, 0.0, 0.75),
            "capo: 75 % of rollouts have a single step, so a step's credit is the response's.",
        ),
    ],
)
def test_each_trouble_has_its_own_clause(health: Health, sentence: str | None) -> None:
    found = [line for line in cautions(health=health) if line.startswith("capo:")]
    assert found == ([] if sentence is None else [sentence])


def test_collapsed_seeds_are_named() -> None:
    (found,) = (line for line in cautions(collapsed=(1,)) if "collapsed" in line)
    assert found.startswith(
        "capo collapsed in 1 of 3 seeds (1): it ended below half of the start on coins_test/accuracy"
    )
