"""Precision, recall and F1 over labelled steps, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.benchmarks import StepCheck
from evals.critics.labels import StepLabels, label_exactly
from evals.critics.metrics import ShareEstimate, StepScores, score_steps


def labels(text: str, group: str = "") -> StepLabels:
    """Read labels from one character a step: x wrong, . right, ? unlabelled."""
    wrong = frozenset(i for i, c in enumerate(text) if c == "x")
    return StepLabels(len(text), wrong, frozenset(i for i, c in enumerate(text) if c != "?"), group)


def flags(text: str) -> np.ndarray:
    return np.array([c == "x" for c in text])


def test_by_hand():
    #  TP: 1 + 1, FP: 1, FN: 1, TN: 2; the flag on the unlabelled step counts nowhere.
    scores = score_steps([flags("xx.."), flags(".x.x")], [labels("x.x."), labels(".x.?")])
    assert (scores.steps, scores.wrong, scores.flagged) == (7, 3, 3)
    assert scores.precision.value == pytest.approx(2 / 3)
    assert scores.recall.value == pytest.approx(2 / 3)
    assert scores.f1.value == pytest.approx(2 / 3)
    assert scores.false_alarm.value == pytest.approx(1 / 4)


def test_what_nothing_defines_is_none():
    calm = score_steps([flags("..")], [labels("..")])
    assert (calm.precision, calm.recall, calm.f1) == (ShareEstimate(None),) * 3
    assert calm.false_alarm.value == 0
    missed = score_steps([flags("..")], [labels("x.")])
    assert missed.precision == ShareEstimate(None)
    assert (missed.recall.value, missed.f1.value) == (0, 0)


def test_nothing_at_all():
    assert score_steps([], []) == StepScores(0, 0, 0, *[ShareEstimate(None)] * 4)


def test_one_group_has_no_interval():
    one = score_steps([flags("x."), flags("..")], [labels("x.", "p"), labels("x.", "p")])
    assert one.recall == ShareEstimate(0.5, None, None)


def test_the_interval_is_that_of_whole_groups():
    """With both solutions of a problem flagged alike, the problems are the sample: recall as n = 40, not n = 80."""
    rows = [(flags("x" if i % 2 else "."), labels("x", f"p{i}")) for i in range(40) for _ in range(2)]
    alone = [(flag, labels("x")) for flag, _ in rows]
    grouped, single = (score_steps([f for f, _ in part], [x for _, x in part]).recall for part in (rows, alone))
    # Binomial standard error of a half: 1.96 · sqrt(.25 / n).
    assert (grouped.high - grouped.low) / 2 == pytest.approx(1.96 * (0.25 / 40) ** 0.5, rel=0.1)
    assert (single.high - single.low) / 2 == pytest.approx(1.96 * (0.25 / 80) ** 0.5, rel=0.1)


def test_flags_are_one_a_step():
    with pytest.raises(ValueError, match="solution of 2 steps; give one flag a step"):
        score_steps([flags("x..")], [labels("x.")])


@pytest.mark.parametrize(("wrong", "labelled"), [({0}, {1}), ({3}, {3}), (set(), {-1})])
def test_labels_that_cannot_be(wrong, labelled):
    with pytest.raises(ValueError, match="numbered from 0"):
        StepLabels(3, frozenset(wrong), frozenset(labelled))


def test_an_exact_checker_labels_every_step_and_a_follower_is_right():
    check = StepCheck(wrong=frozenset({1}), follow=frozenset({2}))
    assert label_exactly(check, 3, "p") == labels(".x.", "p")


texts = st.text("x.?", min_size=1, max_size=6)


@given(st.lists(texts, max_size=8))
def test_flagging_the_labels_is_perfect(solutions):
    scores = score_steps([flags(text) for text in solutions], [labels(text) for text in solutions])
    assert scores.precision.value in {None, 1.0}
    assert scores.recall.value in {None, 1.0}
    assert scores.false_alarm.value in {None, 0.0}


@given(st.lists(st.tuples(st.text("x.", min_size=4, max_size=4), st.text("x.?", min_size=4, max_size=4)), max_size=8))
def test_f1_is_the_harmonic_mean_and_lies_in_its_interval(pairs):
    scores = score_steps([flags(f) for f, _ in pairs], [labels(x) for _, x in pairs])
    p, r, f1 = scores.precision.value, scores.recall.value, scores.f1.value
    if p and r:
        assert f1 == pytest.approx(2 * p * r / (p + r))
    for estimate in (scores.precision, scores.recall, scores.f1, scores.false_alarm):
        if estimate.low is not None:
            assert 0 <= estimate.low <= estimate.high <= 1


@given(st.permutations(range(6)))
def test_the_order_of_solutions_does_not_matter(order):
    rows = [("x.x", "xx."), ("...", "..x"), ("xxx", "x?."), (".x.", ".x."), ("..x", "..."), ("x..", "?x.")]
    shuffled = [rows[i] for i in order]
    values = [
        score_steps([flags(f) for f, _ in part], [labels(x) for _, x in part]).f1.value for part in (rows, shuffled)
    ]
    assert values[0] == values[1]
