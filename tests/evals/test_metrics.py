"""Metrics of a split, against numbers worked by hand."""

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.metrics import (
    METRICS,
    Sample,
    count_by_problem,
    find_metric,
    is_length,
    list_metric_names,
    score_problems,
    summarize,
)


def sample(problem: str, correct: bool | None, steps: int = 2, wrong: Any = (), **more: Any) -> Sample:
    status = {True: "right", False: "wrong", None: "timeout"}[correct]
    record: dict[str, Any] = {
        "problem": problem,
        "decoding": "greedy",
        "sample": 0,
        "completion": "",
        "correct": correct,
        "status": status,
        "tokens": 10,
        "truncated": False,
        "steps": steps,
        "wrong_steps": wrong,
        "follow_steps": [],
        "answer": "7" if correct else "8",
    }
    return Sample(**{**record, **more})  # type: ignore[typeddict-item]


def sampled(*samples: Sample) -> list[Sample]:
    return [Sample(**{**one, "decoding": "sampled"}) for one in samples]  # type: ignore[typeddict-item]


def two_problems() -> list[Sample]:
    """Problem a: right, right with a slip, wrong. Problem b: abstained on, no answer. 10 steps, 4 of them wrong."""
    return [
        sample("a", True, 3, [], tokens=30),
        sample("a", True, 3, [1], tokens=30),
        sample("a", False, 2, [0, 1], tokens=20),
        sample("b", None, 2, [1], tokens=40),
        sample("b", False, 0, [], tokens=5, truncated=True, status="no_answer", answer=None),
    ]


def test_the_metrics_of_sampled_answers_to_two_problems() -> None:
    assert summarize(sampled(*two_problems())) == pytest.approx(
        {
            "avg_at_3": (2 / 3 + 0 / 1) / 2,
            # Three scored samples of a, one of b: b is in what one answer is worth, and in nothing above.
            "pass_at_1": (2 / 3 + 0) / 2,
            "pass_at_2": 1.0,  # of any two of a's three, one is right
            "pass_at_3": 1.0,
            "maj_at_1": (2 / 3 + 0) / 2,
            "maj_at_2": (1 + 1 / 2 + 1 / 2) / 3,  # right and right; twice right and wrong, a tie
            "maj_at_3": 1.0,
            "sampled_known_right": (2 / 3 + 0 / 2) / 2,  # the one that the verifier could not judge is wrong here
            "sampled_wrong_step_rate": 4 / 10,
            "sampled_flawed_right": 1 / 2,
            "sampled_steps": 10 / 5,
            "sampled_tokens": 125 / 5,
            "sampled_no_answer": 1 / 5,
            "sampled_truncated": 1 / 5,
            "sampled_unscored": 1 / 5,
            "sampled_failed": 0.0,
        }
    )


def test_greedy_and_sampled_answers_are_told_apart() -> None:
    """Greedily a is right and b wrong; of two samples each, a has one right and b both."""
    greedy = [sample("a", True, 4, [0]), sample("b", False, 2, [])]
    drawn = sampled(sample("a", True), sample("a", False), sample("b", True), sample("b", True, 2, [0, 1]))
    metrics = summarize(greedy + drawn)
    assert {name: metrics[name] for name in ("accuracy", "avg_at_2", "pass_at_2", "maj_at_2")} == {
        "accuracy": 1 / 2, "avg_at_2": 3 / 4, "pass_at_2": 1.0, "maj_at_2": 3 / 4,
    }  # fmt: skip
    assert (metrics["wrong_step_rate"], metrics["sampled_wrong_step_rate"]) == (1 / 6, 2 / 8)
    assert (metrics["flawed_right"], metrics["sampled_flawed_right"]) == (1.0, 1 / 3)
    assert summarize(greedy) == {name: value for name, value in metrics.items() if name in METRICS}
    assert summarize(drawn) == {name: value for name, value in metrics.items() if name not in METRICS}


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
        ("failed", {"a": 0.0, "b": 0.0}),
        ("accuracy_norm", {}),
    ],
)
def test_the_metrics_of_each_problem(metric: str, expected: dict[str, float]) -> None:
    assert score_problems(two_problems(), metric) == pytest.approx(expected)
    assert score_problems(sampled(*two_problems()), metric) == {}


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("avg_at_3", {"a": 2 / 3, "b": 0.0}),
        ("pass_at_1", {"a": 2 / 3, "b": 0.0}),
        ("pass_at_2", {"a": 1.0}),
        ("maj_at_2", {"a": 2 / 3}),
        ("sampled_steps", {"a": 8 / 3, "b": 1.0}),
    ],
)
def test_the_metrics_of_each_problem_s_sampled_answers(metric: str, expected: dict[str, float]) -> None:
    assert score_problems(sampled(*two_problems()), metric) == pytest.approx(expected)
    assert score_problems(two_problems(), metric) == {}


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


def test_a_response_that_never_came_is_counted_apart_and_in_nothing_else() -> None:
    lost = sample("a", None, steps=0, tokens=0, status="failed", truncated=True, wrong=None)
    came = [sample("a", True), sample("b", None)]
    with_it, without = summarize([*came, lost]), summarize(came)
    assert with_it.pop("failed") == 1 / 3
    assert without.pop("failed") == 0
    assert with_it.pop("known_right") == 1 / 4
    assert without.pop("known_right") == 1 / 2
    assert with_it == without
    assert summarize([lost]) == {"failed": 1.0, "known_right": 0.0}


def test_ranked_options_have_two_accuracies_and_no_length() -> None:
    """Nothing was generated: no tokens, no steps, nothing that could be cut or be without an answer."""
    ranked = [
        sample("a", True, correct_norm=False, wrong=None),
        sample("b", False, correct_norm=True, wrong=None),
        sample("c", False, correct_norm=True, wrong=None),
    ]
    assert summarize(ranked) == {"accuracy": 1 / 3, "known_right": 1 / 3, "accuracy_norm": 2 / 3} | {
        "unscored": 0.0,
        "failed": 0.0,
    }


def test_wrong_answers_vote_together_where_they_are_the_same() -> None:
    """Two right (written differently) against two times 8 and one 9: a tie of two classes."""
    right = [sample("a", True, answer="1/2"), sample("a", True, answer="0.5")]
    wrong = [sample("a", False, answer=answer) for answer in ("8", "8", "9")]
    assert summarize(sampled(*right, *wrong))["maj_at_5"] == 1 / 2
    assert summarize(sampled(*right, *wrong[1:]))["maj_at_4"] == 1


def test_equal_wrong_answers_are_one_class() -> None:
    """Two right ones lose to three that are 9000, however it is written."""
    right = [sample("a", True, answer="9500"), sample("a", True, answer="9,500")]
    wrong = [sample("a", False, answer=answer) for answer in ("9000", "9,000", r"\$9000")]
    assert summarize(sampled(*right, *wrong))["maj_at_5"] == 0


def test_no_answer_and_abstentions_do_not_vote() -> None:
    """One right against three without an answer wins; a sample that was abstained on is not even taken."""
    silent = [sample("a", False, status="no_answer", answer=None) for _ in range(3)]
    metrics = summarize(sampled(sample("a", True), *silent, sample("a", None, answer="9")))
    assert metrics["maj_at_4"] == 1
    assert metrics["maj_at_2"] == pytest.approx(1 / 2)  # the right one is in half of the pairs
    assert "maj_at_5" not in metrics


def test_nobody_votes_where_the_answers_were_not_kept() -> None:
    records = sampled(*(sample("a", correct) for correct in (True, False)))
    del records[1]["answer"]
    metrics = summarize(records)
    assert metrics["pass_at_2"] == 1
    assert "maj_at_2" not in metrics


@pytest.mark.parametrize(
    ("samples", "ks"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (10, [1, 2, 4, 8, 10])]
)
def test_k_goes_up_to_the_samples_of_a_problem(samples: int, ks: list[int]) -> None:
    names = list_metric_names(
        sampled(*[sample("a", True)] * samples, *[sample("b", None)] * 99, sample("c", False))
        + [sample("a", True)] * 200
    )
    assert [name for name in names if name.startswith("avg_at_")] == ["avg_at_99"]
    assert [name for name in names if name.startswith("pass_at_")] == [f"pass_at_{k}" for k in ks]
    assert [name for name in names if name.startswith("maj_at_")] == [f"maj_at_{k}" for k in ks]


def test_a_problem_of_too_few_scored_samples_says_nothing_of_more() -> None:
    records = sampled(sample("a", True), sample("a", None), sample("b", True), sample("b", False))
    assert count_by_problem(records, "pass_at_2") == {"a": (0, 0), "b": (1, 1)}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("acuracy", r"unknown metric 'acuracy' \(did you mean 'accuracy'\?\); known: accuracy, "),
        ("sampled_accuracy", "unknown metric 'sampled_accuracy'"),
        ("pass_at_0", "unknown metric 'pass_at_0'"),
        ("pass_at_", "unknown metric 'pass_at_'"),
        ("maj_at_-2", "unknown metric 'maj_at_-2'"),
        ("pas_at_8", r"did you mean 'pass_at_8'\?"),
    ],
)
def test_an_unknown_metric_is_named_with_what_is_known(name: str, known: str) -> None:
    with pytest.raises(ValueError, match=known):
        score_problems([], name)


def test_any_k_has_a_name() -> None:
    assert find_metric("pass_at_3")(sampled(*[sample("a", True)] * 3)) == (1.0, 1.0)


def some_sample(
    problem: str, correct: bool | None, steps: int, wrong: set[int], answer: str | None, decoding: str
) -> Sample:
    status = {"status": "no_answer"} if correct is False and answer is None else {}
    found = sorted(w for w in wrong if w < steps)
    return sample(problem, correct, steps, found, answer=answer, decoding=decoding, **status)


SAMPLES = st.lists(
    st.builds(
        some_sample,
        st.sampled_from("abc"),
        st.sampled_from([True, False, None]),
        st.integers(0, 5),
        st.sets(st.integers(0, 4)),
        st.sampled_from(["8", "9", None]),
        st.sampled_from(["greedy", "sampled"]),
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
    assert all(0 <= metrics[name] <= 1 for name in metrics if not is_length(name))


@given(SAMPLES)
def test_the_accuracy_of_a_split_is_the_mean_of_its_problems(samples: list[Sample]) -> None:
    scores = score_problems(samples, "accuracy")
    assert summarize(samples).get("accuracy") == (pytest.approx(sum(scores.values()) / len(scores)) if scores else None)


@given(SAMPLES, st.sampled_from(sorted(METRICS)))
def test_a_problem_alone_scores_what_it_scores_among_others(samples: list[Sample], metric: str) -> None:
    for problem, score in score_problems(samples, metric).items():
        alone = [one for one in samples if one["problem"] == problem]
        assert summarize(alone)[metric] == score


@given(SAMPLES)
def test_one_answer_is_worth_the_accuracy(samples: list[Sample]) -> None:
    metrics = summarize(samples)
    (average,) = [value for name, value in metrics.items() if name.startswith("avg_at_")] or [None]
    assert (
        metrics.get("pass_at_1") == metrics.get("maj_at_1") == (average if average is None else pytest.approx(average))
    )


@given(SAMPLES)
def test_more_answers_pass_more_often_than_they_win_votes(samples: list[Sample]) -> None:
    for name in list_metric_names(samples):
        if name.startswith("pass_at_"):
            votes = score_problems(samples, name.replace("pass", "maj"))
            passes = score_problems(samples, name)
            assert votes.keys() == passes.keys()
            assert all(votes[problem] <= passes[problem] for problem in votes)


@given(SAMPLES)
def test_problems_pass_more_often_the_more_answers_they_have(samples: list[Sample]) -> None:
    scores = [score_problems(samples, name) for name in list_metric_names(samples) if name.startswith("pass_at_")]
    for fewer, more in pairwise(scores):
        assert all(fewer[problem] <= more[problem] for problem in more)
