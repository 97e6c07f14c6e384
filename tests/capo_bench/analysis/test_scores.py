"""The mean of the linearised scores is the task's own metric, whatever the samples."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capo_bench.analysis.scores import linearise
from evals.metrics import METRICS, summarize

samples = st.lists(
    st.builds(
        lambda problem, correct, wrong, spare: {
            "problem": f"p{problem}",
            "decoding": "greedy",
            "sample": 0,
            "completion": "",
            "correct": correct,
            "status": "right" if correct else "wrong",
            "tokens": 5 * spare,
            "truncated": spare == 3,
            "steps": (wrong or 0) + spare,
            "wrong_steps": None if wrong is None else list(range(wrong)),
        },
        st.integers(0, 4),
        st.sampled_from([True, False, None]),
        st.none() | st.integers(0, 3),
        st.integers(1, 3),
    ),
    max_size=12,
)


@given(samples, st.sampled_from(list(METRICS)))
def test_the_mean_is_the_metric_of_the_task(records, metric):
    scores, whole = linearise(records, [metric])[metric], summarize(records)
    if metric in whole:
        assert fmean(scores.values()) == pytest.approx(whole[metric])
        assert scores.keys() == {record["problem"] for record in records}
    else:
        assert scores == {}


def sample(problem: str, *, steps: int, wrong: list[int], correct: bool = True) -> dict:
    return {
        **{"problem": problem, "decoding": "greedy", "correct": correct, "steps": steps, "wrong_steps": wrong},
        **{"status": "", "tokens": 1},
    }


def test_a_long_response_weighs_more():
    """1 of 2 and 0 of 8 steps wrong: R = 1/10, weights 2 and 8, mean weight 5.

    z = 0.1 + 2·(0.5 − 0.1)/5 = 0.26 and 0.1 + 8·(0 − 0.1)/5 = −0.06; their mean is 0.1.
    """
    records = [sample("a", steps=2, wrong=[1]), sample("b", steps=8, wrong=[])]
    assert linearise(records, ["wrong_step_rate"])["wrong_step_rate"] == pytest.approx({"a": 0.26, "b": -0.06})


def test_a_problem_that_was_not_solved_says_nothing_about_flawed_right_answers():
    """One right answer of two is flawed: R = 0.5, weights 1, 1 and 0, mean weight 2/3."""
    records = [
        sample("a", steps=2, wrong=[0]),
        sample("b", steps=2, wrong=[]),
        sample("c", steps=2, wrong=[0], correct=False),
    ]
    assert linearise(records, ["flawed_right"])["flawed_right"] == pytest.approx({"a": 1.25, "b": -0.25, "c": 0.5})


def test_equal_weights_leave_scores_as_they_are():
    records = [sample("a", steps=1, wrong=[]), sample("b", steps=1, wrong=[], correct=False)]
    assert linearise(records, ["accuracy"])["accuracy"] == {"a": 1.0, "b": 0.0}
