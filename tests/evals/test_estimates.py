"""Standard errors and intervals: by hand, as laws, and by how often they hold a truth that is known."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from evals.estimates import Estimate, compute_share_interval, estimate, estimate_all
from evals.metrics import Count, Sample, is_length, summarize

T_2, T_3 = 4.302653, 3.182446
"""Student's 97.5 % points for 2 and 3 degrees of freedom, from a printed table."""


def sample(problem: str, correct: bool | None, **more: object) -> Sample:
    record = {
        "problem": problem,
        "decoding": "greedy",
        "sample": 0,
        "completion": "",
        "correct": correct,
        "status": {True: "right", False: "wrong", None: "timeout"}[correct],
        "answer": "7" if correct else "8",
        "tokens": 10,
        "truncated": False,
        "steps": 2,
        "wrong_steps": [],
    }
    return {**record, **more}  # type: ignore[typeddict-item]


def test_lengths_by_hand() -> None:
    """Tokens 10, 20, 30: mean 20, sd 10, standard error 10/√3."""
    found = estimate_all([sample(name, True, tokens=tokens) for name, tokens in zip("abc", (10, 20, 30), strict=True)])
    tokens = found["tokens"]
    assert (tokens.value, tokens.n) == (20, 3)
    assert tokens.stderr == pytest.approx(10 / 3**0.5)
    assert tokens.high == pytest.approx(20 + T_2 * 10 / 3**0.5)
    assert tokens.low == 0  # Student's end is −4.8, and no response is that short


def test_the_accuracys_standard_error_is_that_of_the_problems_means() -> None:
    """Problem means 1, 1/2, 0, 1/2: mean 1/2, squares 1/4 + 1/4, sd √(1/6), standard error √(1/24).

    Eight samples taken as independent would have √(1/28): samples of one problem agree with each other.
    """
    answers = {"a": (True, True), "b": (True, False), "c": (False, False), "d": (False, True)}
    accuracy = estimate_all([sample(p, right) for p, both in answers.items() for right in both])["accuracy"]
    assert (accuracy.value, accuracy.n) == (1 / 2, 4)
    assert accuracy.stderr == pytest.approx((1 / 24) ** 0.5)
    draws = (1 / 4) / (1 / 24) * (1.959964 / T_3) ** 2
    assert accuracy.low == pytest.approx(beta.ppf(0.025, draws / 2, draws / 2 + 1), abs=1e-6)
    assert accuracy.high == pytest.approx(beta.ppf(0.975, draws / 2 + 1, draws / 2), abs=1e-6)


def test_rates_over_steps_are_linearised_by_hand() -> None:
    """1 of 2 steps and 0 of 8: R = 1/10; residuals 1 − 0.2 and 0 − 0.8; SE² = 2/1 · (0.64 + 0.64) / 10²."""
    rate = estimate_all([sample("a", True, steps=2, wrong_steps=[1]), sample("b", True, steps=8)])["wrong_step_rate"]
    assert rate.value == 1 / 10
    assert rate.stderr == pytest.approx((2 * 1.28 / 100) ** 0.5)
    assert rate.n == 2


def test_several_samples_of_a_problem_are_one_problem() -> None:
    """The same answers once or ten times: the same uncertainty, as nothing was learnt of other problems."""
    once = [sample(name, right) for name, right in zip("abcd", (True, True, False, True), strict=True)]
    assert estimate_all(once)["accuracy"] == estimate_all(once * 10)["accuracy"]


@pytest.mark.parametrize(
    ("value", "n", "expected"),
    [
        # None of n: the upper end of Clopper and Pearson is 1 − 0.025^(1/n), all of n its mirror.
        (0.0, 10, (0, 1 - 0.025 ** (1 / 10))),
        (1.0, 10, (0.025 ** (1 / 10), 1)),
        (0.0, 1, (0, 0.975)),
        (1.0, 500, (0.025 ** (1 / 500), 1)),
    ],
)
def test_all_and_none_leave_room_for_what_was_not_seen(value: float, n: int, expected: tuple[float, float]) -> None:
    assert compute_share_interval(value, 0.0, n) == pytest.approx(expected)


def test_problems_that_do_not_differ_count_one_draw_each() -> None:
    """Half of the samples of each of ten problems are right: Clopper and Pearson's interval of 5 of 10 (printed)."""
    found = estimate_all([sample(str(problem), right) for problem in range(10) for right in (True, False)])
    accuracy = found["accuracy"]
    assert accuracy.stderr == 0
    assert (accuracy.low, accuracy.high) == pytest.approx((0.1871, 0.8129), abs=1e-4)


def test_equal_thirds_do_not_differ_by_their_rounding() -> None:
    found = estimate_all([sample(str(problem), right) for problem in range(7) for right in (True, False, False)])
    assert found["accuracy"].high - found["accuracy"].low > 0.5  # type: ignore[operator]


def test_one_problem_has_no_standard_error_and_an_interval_only_where_there_are_bounds() -> None:
    found = estimate_all([sample("a", True)])
    assert found["accuracy"] == Estimate(1.0, None, pytest.approx(0.025), 1.0, 1)  # type: ignore[arg-type]
    assert found["tokens"] == Estimate(10.0, None, None, None, 1)


def test_problems_left_out_are_not_in_n() -> None:
    drawn = [sample("a", True), sample("a", False), sample("b", True), sample("b", None), sample("c", None)]
    found = estimate_all([{**one, "decoding": "sampled"} for one in drawn])
    assert (found["pass_at_1"].n, found["pass_at_2"].n, found["sampled_tokens"].n) == (2, 1, 3)


def test_what_nothing_defines_is_absent() -> None:
    assert estimate_all([]) == {}
    assert estimate([(0.0, 0.0)], share=True) is None


RECORDS = st.lists(
    st.builds(
        lambda problem, correct, steps, wrong, tokens: sample(
            problem, correct, steps=steps, wrong_steps=list(range(min(wrong, steps))), tokens=tokens
        ),
        st.sampled_from("abcde"),
        st.sampled_from([True, False, None]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 1000),
    ),
    max_size=20,
)


@given(RECORDS, st.randoms())
def test_values_are_those_of_the_summary_whatever_the_order(records: list[Sample], chance: random.Random) -> None:
    found = estimate_all(records)
    assert {name: known.value for name, known in found.items()} == summarize(records)
    shuffled = list(records)
    chance.shuffle(shuffled)
    again = estimate_all(shuffled)
    for name, known in found.items():
        assert again[name].value == pytest.approx(known.value)
        assert again[name].n == known.n
        assert again[name].low == pytest.approx(known.low, abs=1e-9)


@given(RECORDS)
def test_an_interval_holds_its_value_within_what_is_possible(records: list[Sample]) -> None:
    for name, known in estimate_all(records).items():
        if known.low is None or known.high is None:
            assert known.n == 1
            assert is_length(name)
            continue
        assert 0 <= known.low <= known.value <= known.high
        assert known.high <= 1 or is_length(name)
        assert known.stderr is None or known.stderr >= 0


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 2000))
def test_any_share_has_an_interval(value: float, stderr: float, n: int) -> None:
    low, high = compute_share_interval(value, stderr if n > 1 else None, n)
    assert 0 <= low <= value <= high <= 1


Draw = Callable[[np.random.Generator], list[Count]]


def answers(n: int, k: int, a: float, b: float) -> Draw:
    """n problems whose chances are Beta(a, b), k samples of each."""
    return lambda rng: [(float(right) / k, 1.0) for right in rng.binomial(k, rng.beta(a, b, n))]


def steps(n: int, rate: float) -> Draw:
    """n problems of 1 to 12 steps, of which a share around `rate` is wrong, another for each problem."""

    def draw(rng: np.random.Generator) -> list[Count]:
        sizes = rng.integers(1, 13, n)
        return [(float(rng.binomial(size, rng.beta(rate, 1 - rate))), float(size)) for size in sizes]

    return draw


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        pytest.param(answers(30, 1, 4, 6), 0.4, id="a small benchmark, one sample"),
        pytest.param(answers(30, 16, 0.3, 2.7), 0.1, id="a hard small benchmark, many samples"),
        pytest.param(answers(12, 4, 1, 1), 0.5, id="few problems that differ widely"),
        pytest.param(answers(5, 8, 8, 2), 0.8, id="five problems"),
        pytest.param(answers(30, 1, 1, 39), 0.025, id="nearly always wrong"),
        pytest.param(answers(30, 4, 38, 2), 0.95, id="nearly always right"),
        pytest.param(answers(200, 2, 2, 2), 0.5, id="a large benchmark"),
        pytest.param(steps(40, 0.1), 0.1, id="a rate over steps"),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(draw: Draw, truth: float) -> None:
    rng = np.random.default_rng(7)
    found = [estimate(draw(rng), share=True) for _ in range(400)]
    held = np.mean([known is not None and known.low <= truth <= known.high for known in found])  # type: ignore[operator]
    # Of 400 draws, 95 % less three standard errors of their share.
    assert held >= 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5


@pytest.mark.parametrize("n", [5, 40])
def test_intervals_of_lengths_hold_the_truth(n: int) -> None:
    rng = np.random.default_rng(11)
    found = [estimate([(float(tokens), 1.0) for tokens in rng.normal(300, 60, n)], share=False) for _ in range(400)]
    held = np.mean([known is not None and known.low <= 300 <= known.high for known in found])  # type: ignore[operator]
    assert 0.92 <= held <= 0.98


def test_intervals_are_not_wider_than_they_need_be() -> None:
    """500 problems, one sample each: within a fifth of the textbook's ±1.96·√(p(1−p)/n)."""
    known = estimate([(1.0, 1.0)] * 200 + [(0.0, 1.0)] * 300, share=True)
    assert known is not None
    assert known.low is not None
    assert known.high is not None
    assert known.high - known.low <= 1.2 * 2 * 1.96 * (0.4 * 0.6 / 500) ** 0.5
