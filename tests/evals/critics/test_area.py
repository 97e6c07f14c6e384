"""The area under the ROC curve, by hand and by counting all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.critics.metrics import ShareEstimate, estimate_area

STEPS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 5)), max_size=20)


def area(doubts, wrong, groups=None) -> ShareEstimate:
    names = [f"#{row}" for row in range(len(doubts))] if groups is None else [str(group) for group in groups]
    return estimate_area(np.array(doubts, dtype=np.float64), np.array(wrong, dtype=np.bool_), names)


def of_pairs(doubts, wrong) -> float | None:
    """Count every pair of a wrong and a right step."""
    bad = [doubt for doubt, is_wrong in zip(doubts, wrong, strict=True) if is_wrong]
    good = [doubt for doubt, is_wrong in zip(doubts, wrong, strict=True) if not is_wrong]
    won = [1.0 if b > g else 0.5 if b == g else 0.0 for b in bad for g in good]
    return sum(won) / len(won) if won else None


def test_by_hand():
    # Of the four pairs .9 beats .5 and .1, .5 beats .1, and .5 against .5 counts half.
    assert area([0.9, 0.5, 0.5, 0.1], [True, False, True, False]).value == 3.5 / 4


def test_steps_told_apart_are_certain_whatever_is_drawn():
    doubts, wrong = [0.9, 0.2, 0.8, 0.1] * 5, [True, False] * 10
    assert area(doubts, wrong, np.arange(20) // 2) == ShareEstimate(1.0, 1.0, 1.0)
    assert area([1 - doubt for doubt in doubts], wrong, np.arange(20) // 2) == ShareEstimate(0.0, 0.0, 0.0)


def test_one_doubt_for_all_tells_nothing():
    assert area([0.5] * 8, [True, False] * 4, np.arange(8) // 2) == ShareEstimate(0.5, 0.5, 0.5)


@pytest.mark.parametrize("wrong", [[], [True, True], [False]])
def test_without_both_kinds_there_is_none(wrong):
    assert area([0.5] * len(wrong), wrong) == ShareEstimate(None)


def test_one_group_has_no_interval():
    assert area([0.9, 0.5, 0.7], [True, False, False], "aaa") == ShareEstimate(1.0)


def test_steps_of_a_group_are_drawn_together():
    """A group that stands twice in the data under its own name says no more than once: the interval does not shrink."""
    rng = np.random.default_rng(1)
    wrong, groups = rng.random(60) < 0.4, np.arange(60) // 3
    doubts = np.round(wrong * 0.5 + rng.random(60), 2)
    once = area(doubts, wrong, groups)
    twice = area(np.tile(doubts, 2), np.tile(wrong, 2), np.tile(groups, 2))
    apart = area(np.tile(doubts, 2), np.tile(wrong, 2), np.arange(120) // 3)
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert apart.high - apart.low < once.high - once.low


@settings(max_examples=30)
@given(STEPS)
def test_it_is_the_share_of_pairs_and_only_the_order_counts(steps):
    doubts, wrong, groups = zip(*steps, strict=True) if steps else ((), (), ())
    found = area(doubts, wrong, groups)
    assert found.value == pytest.approx(of_pairs(doubts, wrong))
    assert area([np.exp(doubt) for doubt in doubts], wrong, groups) == found
    if found.value is not None and found.low is not None:
        assert 0 <= found.low <= found.high <= 1
        assert area([-doubt for doubt in doubts], wrong, groups).value == pytest.approx(1 - found.value)
