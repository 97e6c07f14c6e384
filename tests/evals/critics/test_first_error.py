"""ProcessBench's score: first flagged step on erroneous solutions, no flag on clean ones, harmonic mean."""

from __future__ import annotations

import numpy as np
import pytest

from evals.critics.first_error import is_identified, score_first_error
from evals.critics.labels import StepLabels
from evals.critics.metrics import ShareEstimate


def label(first: int | None, steps: int = 4) -> StepLabels:
    if first is None:
        return StepLabels(steps, frozenset(), frozenset(range(steps)))
    return StepLabels(steps, frozenset({first}), frozenset(range(first + 1)))


def flags(*steps: int) -> np.ndarray:
    return np.isin(np.arange(4), steps)


@pytest.mark.parametrize(
    ("flagged", "first", "right"),
    [
        ((2,), 2, True),
        ((2, 3), 2, True),  # later steps are unlabelled
        ((1, 2), 2, False),  # an earlier alarm
        ((3,), 2, False),
        ((), 2, False),
        ((), None, True),
        ((0,), None, False),
        ((0,), 0, True),
    ],
)
def test_one_solution(flagged, first, right):
    assert is_identified(flags(*flagged), label(first)) is right


@pytest.mark.parametrize("first", [None, 1])
def test_without_a_verdict_nothing_is_identified(first):
    assert is_identified(None, label(first)) is False


def test_by_hand():
    # Erroneous: 2 of 4 identified. Clean: 3 of 4. Harmonic mean 2 · .5 · .75 / 1.25 = .6.
    a_flags = [flags(1), flags(1, 2), flags(0), None, flags(), flags(), flags(), flags(3)]
    a_labels = [label(1)] * 4 + [label(None)] * 4
    # Erroneous: 0 of 1. Clean: 1 of 1. Harmonic mean 0.
    b_flags, b_labels = [flags(), flags()], [label(0), label(None)]
    found = score_first_error({"a": a_flags, "b": b_flags}, {"a": a_labels, "b": b_labels})
    a, b, mean = found["a"], found["b"], found["mean"]
    assert (a.on_erroneous.value, a.on_clean.value, a.f1.value) == pytest.approx((0.5, 0.75, 0.6))
    assert (a.erroneous, a.clean, a.unanswered) == (4, 4, 1)
    assert (b.on_erroneous.value, b.on_clean.value, b.f1.value) == (0, 1, 0)
    assert (mean.on_erroneous.value, mean.on_clean.value, mean.f1.value) == pytest.approx((0.25, 0.875, 0.3))
    assert (mean.erroneous, mean.clean, mean.unanswered) == (5, 5, 1)


def test_the_interval_is_the_binomial_one():
    rows = [flags(1), flags(0)] * 50
    scores = score_first_error({"a": rows}, {"a": [label(1)] * 100})["a"]
    half = (scores.on_erroneous.high - scores.on_erroneous.low) / 2
    assert half == pytest.approx(1.96 * 0.05, rel=0.1)
    assert scores.on_clean == scores.f1 == ShareEstimate(None)


def test_an_always_silent_critic_scores_nothing():
    labels = [label(1), label(2), label(None)]
    scores = score_first_error({"a": [flags()] * 3}, {"a": labels})["a"]
    assert (scores.on_erroneous.value, scores.on_clean.value, scores.f1.value) == (0, 1, 0)


def test_one_subset_has_no_mean():
    assert list(score_first_error({"a": [flags()]}, {"a": [label(None)]})) == ["a"]
