"""Curves of training by step and by spending, on worked numbers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from summaries import ACCURACY, BASE, cell, row, summary

from capo_bench.report import curves as module
from capo_bench.report.axes import AXES
from capo_bench.report.canvas import draw, draw_panels
from capo_bench.report.curves import (
    MOST_CURVES,
    Curve,
    against,
    curve_of,
    learning_curves,
    running_mean,
    spending_curves,
)


def run(curve: tuple[float, ...], **spent: list[float]) -> Any:
    return SimpleNamespace(curve=curve, spent=spent)


def test_curves_are_cut_to_the_shortest_run():
    found = curve_of(
        {
            0: run((0.1, 0.2, 0.3), steps=[1.0, 2.0, 3.0]),
            1: run((0.5, 0.6), steps=[1.0, 3.0]),
            2: run((), steps=[]),
        }
    )
    assert found is not None
    assert found.outcome.tolist() == [[0.1, 0.2], [0.5, 0.6]]
    assert {name: spent.tolist() for name, spent in found.spent.items()} == {"steps": [[1.0, 2.0], [1.0, 3.0]]}
    assert curve_of({2: run((), steps=[])}) is None
    assert curve_of({}) is None


def test_a_curve_is_known_by_every_number_and_axis_of_it():
    rows = [{0: run((0.1, 0.2), steps=[1.0, 2.0])}, {0: run((0.1, 0.3), steps=[1.0, 2.0])}]
    rows += [{0: run((0.1, 0.2), steps=[1.0, 3.0])}, {0: run((0.1, 0.2), seconds=[1.0, 2.0])}]
    found = [curve.digest() for runs in [*rows, rows[0]] if (curve := curve_of(runs)) is not None]
    assert len(set(found)) == 4
    assert found[0] == found[-1]


def test_an_axis_that_a_seed_lacks_is_none_of_the_variants():
    found = curve_of({0: run((0.1,), steps=[1.0], seconds=[2.0]), 1: run((0.2,), steps=[1.0])})
    assert found is not None
    assert list(found.spent) == ["steps"]


def test_a_running_mean_on_a_worked_example():
    assert running_mean(np.array([[1.0, 2.0, 6.0, 4.0]]), 2).tolist() == [[1.5, 4.0, 5.0]]
    assert running_mean(np.array([[1.0, 3.0]]), 5).tolist() == [[2.0]]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 20))
def test_a_running_mean_stays_within_its_values(row_, window):
    smooth = running_mean(np.array([row_]), window)
    assert smooth.shape == (1, max(1, len(row_) - window + 1))
    assert min(row_) - 1e-9 <= smooth.min() <= smooth.max() <= max(row_) + 1e-9


def test_spending_is_the_mean_over_seeds_and_the_outcome_stays_a_row_a_seed():
    curve = Curve(np.array([[0.0, 0.5], [0.5, 0.75]]), {"policy_tokens": np.array([[100.0, 300.0], [200.0, 500.0]])})
    across, outcome = against(curve, "policy_tokens")
    assert across.tolist() == [150.0, 400.0]
    assert outcome.tolist() == [[0.0, 0.5], [0.5, 0.75]]  # fewer than 20 steps: nothing is averaged


def test_of_many_steps_a_tenth_are_averaged_and_stand_where_the_last_of_them_had_come():
    curve = Curve(np.arange(20.0)[None], {"seconds": 10 * np.arange(1.0, 21.0)[None]})
    across, outcome = against(curve, "seconds")
    assert across.tolist() == [10.0 * step for step in range(2, 21)]
    assert outcome.tolist() == [[place + 0.5 for place in range(19)]]


def grown(seeds: int, each: float, *axes: str) -> Curve:
    """Return a curve of four steps that each spend `each` on every axis."""
    outcome = np.tile([0.2, 0.3, 0.4, 0.5], (seeds, 1))
    return Curve(outcome, {axis: each * np.tile([1.0, 2.0, 3.0, 4.0], (seeds, 1)) for axis in axes})


STUDY = summary(BASE, row("capo", {ACCURACY: cell(0.6, 0.05, holm=0.2)}))


def test_each_learning_curve_is_averaged_over_a_tenth_of_its_own_steps(monkeypatch):
    """A variant whose budget ends it after 10 steps is drawn at all 10, beside one of 40."""
    kept: list[Any] = []

    def watched(*args: Any) -> Any:
        *first, paint = args
        return draw(*first, lambda ax: (kept.append(ax), paint(ax)))

    monkeypatch.setattr(module, "draw", watched)
    curves = {"grpo_rule": Curve(np.arange(40.0)[None], {}), "capo": Curve(np.arange(10.0)[None], {})}
    figure = learning_curves(STUDY, curves)
    lines = {line.get_label(): line for line in kept[0].get_lines()}
    assert lines["capo"].get_xdata().tolist() == list(range(1, 11))
    assert lines["capo"].get_ydata().tolist() == list(range(10))
    assert lines["grpo_rule"].get_xdata().tolist() == list(range(4, 41))
    assert lines["grpo_rule"].get_ydata()[0] == (0 + 1 + 2 + 3) / 4
    assert kept[0].get_ylabel().endswith("(running mean of 1 to 4 steps)")
    assert "capo ends at 9.00" in figure.alt


def painted(monkeypatch: pytest.MonkeyPatch, curves: dict[str, Curve]) -> tuple[Any, list[Any]]:
    """Draw and return the figure with its panels as they were painted."""
    kept: list[Any] = []

    def watched(*args: Any) -> Any:
        *first, paint = args
        return draw_panels(*first, lambda panels: (kept.extend(panels), paint(panels)))

    monkeypatch.setattr(module, "draw_panels", watched)
    return spending_curves(STUDY, curves), kept


def test_a_panel_an_axis_and_the_legend_after_them(monkeypatch):
    capo, rule = grown(2, 10.0, "steps", "seconds", "total_tokens"), grown(2, 1.0, "steps", "seconds", "total_tokens")
    figure, panels = painted(monkeypatch, {"grpo_rule": rule, "capo": capo})
    assert len(panels) == 4
    labels = [" ".join(ax.get_xlabel().split()) for ax in panels[:3]]
    assert labels == [AXES["steps"], AXES["seconds"], AXES["total_tokens"]]
    assert [text.get_text() for text in panels[3].get_legend().get_texts()] == ["grpo_rule", "capo"]
    for ax in panels[:3]:
        drawn = {line.get_label(): line for line in ax.get_lines()}
        assert drawn["capo"].get_xdata().tolist() == [10.0, 20.0, 30.0, 40.0]
        assert drawn["grpo_rule"].get_xdata().tolist() == [1.0, 2.0, 3.0, 4.0]
        assert drawn["capo"].get_ydata().tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])
        assert drawn["capo"].get_marker() != drawn["grpo_rule"].get_marker()
        assert len(ax.collections) == 2  # a band each
    assert "capo ends at 0.50 after 40 steps, 40 seconds, 40 total tokens" in figure.alt


@pytest.mark.parametrize(("axes", "rows"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_there_is_always_a_place_for_the_legend(monkeypatch, axes, rows):
    names = list(AXES)[:axes]
    _, panels = painted(monkeypatch, {"grpo_rule": grown(1, 1.0, *names)})
    assert len(panels) == 2 * rows
    assert panels[axes].get_legend() is not None
    assert [ax.axison for ax in panels] == [True] * axes + [False] * (2 * rows - axes)
    assert [bool(ax.get_ylabel()) for ax in panels] == [at < axes and at % 2 == 0 for at in range(2 * rows)]


def test_only_axes_that_all_runs_have(monkeypatch):
    figure, panels = painted(
        monkeypatch,
        {"grpo_rule": grown(3, 1.0, "steps", "seconds", "train_flops"), "capo": grown(2, 1.0, "steps", "seconds")},
    )
    assert [ax.get_xlabel() for ax in panels if ax.axison] == [AXES["steps"], AXES["seconds"]]
    assert "(n = 2 to 3)" in figure.caption
    assert "Seconds depend on the machine" in figure.caption


def test_steps_alone_are_the_learning_curves_and_are_not_drawn_again():
    assert spending_curves(STUDY, {"grpo_rule": grown(1, 1.0, "steps")}) is None
    assert spending_curves(STUDY, {}) is None


def test_variants_that_are_too_many_are_counted():
    names = [f"v{at}" for at in range(MOST_CURVES + 1)]
    study = summary(BASE, *(row(name, {ACCURACY: cell(0.6, 0.05, holm=0.2)}) for name in names))
    figure = spending_curves(study, {name: grown(1, 1.0, "steps", "seconds") for name in ["grpo_rule", *names]})
    assert figure is not None
    assert figure.caption.endswith(" 2 more variants are not drawn.")
    assert "(n = 1)" in figure.caption
