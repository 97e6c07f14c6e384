"""Metrics of a split, against numbers worked by hand."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics import METRICS, Sample, problem_scores, summarize


def sample(problem: str, correct: bool | None, steps: int = 2, wrong: Any = (), **more: Any) -> Sample:
    status = {True: "right", False: "wrong", None: "timeout"}[correct]
    record: dict[str, Any] = {
        "problem": problem,
        "sample": 0,
        "completion": "",
        "correct": correct,
        "status": status,
        "tokens": 10,
        "truncated": False,
        "steps": steps,
        "wrong_steps": wrong,
        "follow_steps": [],
    }
    return Sample(**{**record, **more})  # type: ignore[typeddict-item]


def two_problems() -> list[Sample]:
    """Problem a: right, right with a slip, wrong. Problem b: abstained on, no answer. 10 steps, 4 of them wrong."""
    return [
        sample("a", True, 3, [], tokens=30),
        sample("a", True, 3, [1], tokens=30),
        sample("a", False, 2, [0, 1], tokens=20),
        sample("b", None, 2, [1], tokens=40),
        sample("b", False, 0, [], tokens=5, truncated=True, status="no_answer"),
    ]


def test_the_metrics_of_two_problems() -> None:
    assert summarize(two_problems()) == pytest.approx(
        {
            "accuracy": (2 / 3 + 0 / 1) / 2,
            "wrong_step_rate": 4 / 10,
            "flawed_right": 1 / 2,
            "steps": 10 / 5,
            "tokens": 125 / 5,
            "no_answer": 1 / 5,
            "truncated": 1 / 5,
            "unscored": 1 / 5,
        }
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", {"a": 2 / 3, "b": 0.0}),
        ("wrong_step_rate", {"a": 3 / 8, "b": 1 / 2}),
        ("flawed_right", {"a": 1 / 2}),
        ("steps", {"a": 8 / 3, "b": 1.0}),
        ("tokens", {"a": 80 / 3, "b": 22.5}),
        ("no_answer", {"a": 0.0, "b": 0.5}),
        ("truncated", {"a": 0.0, "b": 0.5}),
        ("unscored", {"a": 0.0, "b": 0.5}),
    ],
)
def test_the_metrics_of_each_problem(metric: str, expected: dict[str, float]) -> None:
    assert problem_scores(two_problems(), metric) == pytest.approx(expected)


def test_accuracy_weighs_problems_the_same_however_many_samples_they_have() -> None:
    samples = [sample("a", True)] + [sample("b", False)] * 9
    assert summarize(samples)["accuracy"] == 0.5


def test_wrong_step_rate_weighs_steps_the_same_whoever_took_them() -> None:
    samples = [sample("a", True, steps=9), sample("b", False, steps=1, wrong=[0])]
    assert summarize(samples)["wrong_step_rate"] == 0.1


def test_an_abstention_is_left_out_and_counted() -> None:
    metrics = summarize([sample("a", True), sample("a", None), sample("b", None)])
    assert metrics["accuracy"] == 1.0
    assert metrics["unscored"] == pytest.approx(2 / 3)


def test_what_the_samples_do_not_define_is_absent_never_zero() -> None:
    assert summarize([]) == {}
    nothing_scored = summarize([sample("a", None)])
    assert "accuracy" not in nothing_scored
    assert "flawed_right" not in nothing_scored
    no_steps = summarize([sample("a", False, steps=0)])
    assert "wrong_step_rate" not in no_steps
    assert no_steps["steps"] == 0.0


@pytest.mark.parametrize("unchecked", [{"wrong": None}, {}])
def test_samples_whose_steps_nobody_checked_are_no_evidence_about_steps(unchecked: dict[str, Any]) -> None:
    record = sample("a", True, **unchecked)
    if not unchecked:
        del record["wrong_steps"]
    metrics = summarize([record])
    assert metrics["accuracy"] == 1.0
    assert not {"wrong_step_rate", "flawed_right"} & set(metrics)
    both = summarize([record, sample("a", True, steps=4, wrong=[2])])
    assert (both["wrong_step_rate"], both["flawed_right"]) == (0.25, 1.0)


def test_an_unknown_metric_is_named_with_what_is_known() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'acuracy' \(did you mean 'accuracy'\?\); known: accuracy, "):
        problem_scores([], "acuracy")


SAMPLES = st.lists(
    st.builds(
        lambda problem, correct, steps, wrong: sample(problem, correct, steps, sorted(w for w in wrong if w < steps)),
        st.sampled_from("abc"),
        st.sampled_from([True, False, None]),
        st.integers(0, 5),
        st.sets(st.integers(0, 4)),
    ),
    max_size=12,
)


@given(SAMPLES, st.randoms())
def test_the_order_of_samples_does_not_matter(samples: list[Sample], chance: random.Random) -> None:
    shuffled = list(samples)
    chance.shuffle(shuffled)
    assert summarize(shuffled) == pytest.approx(summarize(samples))


@given(SAMPLES)
def test_shares_lie_between_none_and_all(samples: list[Sample]) -> None:
    metrics = summarize(samples)
    assert all(0 <= metrics[name] <= 1 for name in set(metrics) - {"steps", "tokens"})


@given(SAMPLES)
def test_the_accuracy_of_a_split_is_the_mean_of_its_problems(samples: list[Sample]) -> None:
    scores = problem_scores(samples, "accuracy")
    assert summarize(samples).get("accuracy") == (pytest.approx(sum(scores.values()) / len(scores)) if scores else None)


@given(SAMPLES, st.sampled_from(sorted(METRICS)))
def test_a_problem_alone_scores_what_it_scores_among_others(samples: list[Sample], metric: str) -> None:
    for problem, score in problem_scores(samples, metric).items():
        alone = [one for one in samples if one["problem"] == problem]
        assert summarize(alone)[metric] == score
