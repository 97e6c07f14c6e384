"""Curves of training by step and by spending, on worked numbers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.analysis.curves import Curve, average_over_window, build_curve


def run(curve: tuple[float, ...], **spent: list[float]) -> Any:
    return SimpleNamespace(curve=curve, spent=spent)


def test_curves_are_cut_to_the_shortest_run():
    found = build_curve(
        {
            0: run((0.1, 0.2, 0.3), steps=[1.0, 2.0, 3.0]),
            1: run((0.5, 0.6), steps=[1.0, 3.0]),
            2: run((), steps=[]),
        }
    )
    assert found is not None
    assert found.outcome.tolist() == [[0.1, 0.2], [0.5, 0.6]]
    assert {name: spent.tolist() for name, spent in found.spent.items()} == {"steps": [[1.0, 2.0], [1.0, 3.0]]}
    assert build_curve({2: run((), steps=[])}) is None
    assert build_curve({}) is None


def test_an_axis_that_a_seed_lacks_is_none_of_the_variants():
    found = build_curve({0: run((0.1,), steps=[1.0], seconds=[2.0]), 1: run((0.2,), steps=[1.0])})
    assert found is not None
    assert list(found.spent) == ["steps"]


def test_a_running_mean_on_a_worked_example():
    assert average_over_window(np.array([[1.0, 2.0, 6.0, 4.0]]), 2).tolist() == [[1.5, 4.0, 5.0]]
    assert average_over_window(np.array([[1.0, 3.0]]), 5).tolist() == [[2.0]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 20))
def test_a_running_mean_stays_within_its_values(row_, window):
    smooth = average_over_window(np.array([row_]), window)
    assert smooth.shape == (1, max(1, len(row_) - window + 1))
    assert min(row_) - 1e-9 <= smooth.min() <= smooth.max() <= max(row_) + 1e-9


def test_spending_is_the_mean_over_seeds_and_the_outcome_stays_a_row_a_seed():
    curve = Curve(np.array([[0.0, 0.5], [0.5, 0.75]]), {"policy_tokens": np.array([[100.0, 300.0], [200.0, 500.0]])})
    assert curve.against("policy_tokens").tolist() == [150.0, 400.0]
    assert curve.smooth().tolist() == [[0.0, 0.5], [0.5, 0.75]]  # fewer than 20 steps: nothing is averaged


def test_of_many_steps_a_tenth_are_averaged_and_stand_where_the_last_of_them_had_come():
    curve = Curve(np.arange(20.0)[None], {"seconds": 10 * np.arange(1.0, 21.0)[None]})
    assert curve.against("seconds").tolist() == [10.0 * step for step in range(2, 21)]
    assert curve.smooth().tolist() == [[place + 0.5 for place in range(19)]]
