"""The words of a worker, without a process and without math-verify."""

import pytest

from evals.verify.worker import judge, peak_bytes

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
    before = peak_bytes()
    held = bytearray(before + 64 * 2**20)
    assert peak_bytes() >= before + len(held) // 2
