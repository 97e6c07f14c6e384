"""The words of a worker, and what it compares, without a process."""

from collections.abc import Callable
from typing import Any

import pytest

from evals.verify.worker import is_far_apart, judge, load, measure_peak

ROOM = 2**50


def raises(error: type[BaseException]) -> bool:
    raise error


@pytest.mark.parametrize(("equal", "word"), [(True, "right"), (False, "wrong")])
def test_a_comparison_becomes_a_word(equal: bool, word: str) -> None:
    assert judge(lambda _answer, _reference: equal, "a", "b", ROOM) == word


@pytest.mark.parametrize("error", [ValueError, RecursionError, ZeroDivisionError])
def test_an_answer_that_breaks_the_parser_is_wrong(error: type[Exception]) -> None:
    assert judge(lambda _answer, _reference: raises(error), "a", "b", ROOM) == "wrong"


def test_a_failed_allocation_is_an_abstention() -> None:
    assert judge(lambda _answer, _reference: raises(MemoryError), "a", "b", ROOM) == "memory"


def test_not_equal_after_too_much_memory_is_an_abstention_for_math_verify_hides_the_failure() -> None:
    assert judge(lambda _answer, _reference: False, "a", "b", 1) == "memory"
    assert judge(lambda _answer, _reference: True, "a", "b", 1) == "right"


def test_the_peak_is_that_of_this_process() -> None:
    before = measure_peak()
    held = bytearray(before + 64 * 2**20)  # of which less than before may come on top: what was freed stays in the peak
    assert before + 32 * 2**20 < len(held) <= measure_peak() + 2**20


@pytest.fixture(scope="module")
def compare() -> Callable[[Any, Any], bool]:
    return load()


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("x(x+1)", "x^2+x", True),
        ("x(x+2)", "x^2+x", False),
        (r"\sqrt{8}", r"2\sqrt2", True),
        (r"10^{40}+1-10^{40}", "1", True),  # digits that cancel do not make it differ
        ("x > 2", r"(2,\infty)", True),
        (r"5 \foo or more", "5", False),  # no number is picked out of what cannot be read
        (["()", "(x+x, 1)", ["x+x", "1"]], ["()", "(2x,1)", ["2x", "1"]], True),
        (["()", "(1, 2x)", ["1", "2x"]], ["()", "(x+x,1)", ["x+x", "1"]], False),
        (["set", "", ["1", "x+x"]], ["set", "", ["2x", "1"]], True),
    ],
)
def test_parts_are_compared_by_math_verify(
    compare: Callable[[Any, Any], bool], answer: Any, reference: Any, expected: bool
) -> None:
    assert compare(answer, reference) is expected


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [("x+1", "x+2", True), ("x", "x+2", False), ("x+1", "1+x", False), (r"25\%", "25", False), ("x<1", "5", False)],
)
def test_formulas_far_apart_are_told_by_their_values(answer: str, reference: str, expected: bool) -> None:
    from math_verify import parse

    ours, theirs = (parse(f"${text}$", parsing_timeout=None) for text in (answer, reference))
    assert is_far_apart(ours, theirs) is expected
