"""Which answers are never parsed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verify.rules import MAX_DEPTH, MAX_DIGITS, MAX_ITEMS, MAX_LENGTH, count_exponents, find_broken_cap


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("x" * (MAX_LENGTH + 1), "longer than"),
        ("1\x00", "control"),
        ("1\x1b[2J", "control"),
        ("\ud800", "control"),
        (r"\frac{1}{2", "braces"),
        ("}{", "braces"),
        ("(" * (MAX_DEPTH + 1), "nested"),
        ("9" * (MAX_DIGITS + 1), "digits"),
        ("1," * (MAX_ITEMS + 1), "items"),
        ("10^{100000000}", "exponent of six digits"),
        ("2**-123456", "exponent of six digits"),
        ("9^9^9^9", "stacked"),
        ("9^{9^{9^9}}", "stacked"),
        ("9**(9**(9**9))", "stacked"),
        ("x" * 61, "letters"),
        ("9^{9^9}", "six digits"),
        (r"2^{100^{3}}", "six digits"),
        ("100000000!", "factorial"),
        ("(10^8)!", "factorial"),
        ("(9!)!", "factorial"),
        ("-" * 11 + "5", "signs"),
        (r"\prod_{i=1}^{10^8} i", "many terms"),
        (r"\binom{99999999}{44444444}", "many terms"),
        (r"\begin{vmatrix}" + r"1&2&3&4&5\\" * 5 + r"\end{vmatrix}", "determinant"),
        ("9!!!", "factorial"),
    ],
)
def test_what_could_exhaust_a_parser_is_refused(answer: str, reason: str) -> None:
    assert reason in (find_broken_cap(answer) or "")


@pytest.mark.parametrize(
    "answer",
    [
        "x+" * (MAX_LENGTH // 2),
        "9" * MAX_DIGITS,
        "(" * MAX_DEPTH + ")" * MAX_DEPTH,
        r"\{1, 2\}",
        r"\left[1, 2\right)",
        "2^{2019}",
        "e^{-x^2}",
        "2^{2^{10}}",
        r"\sum_{k=1}^{100} k^2",
        r"\binom{2n}{n}",
        r"\begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}",
        "99999!",
        "a\nb\tc",
        r"\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix}",
        "",
    ],
)
def test_what_people_write_may_be_parsed(answer: str) -> None:
    assert find_broken_cap(answer) is None


@pytest.mark.parametrize(
    ("answer", "depth"),
    [
        ("x", 0),
        ("x^2", 1),
        ("x^2y^3z^4", 1),
        ("x^{2}y^{3}z^{4}", 1),
        ("(x^2+1)^3", 1),
        ("e^{x^2}", 2),
        ("2^3^4", 2),
        ("2**3**4", 2),
        ("2^{a+b^{c}}", 2),
        ("2^(3^(4^5))", 3),
        ("2^{3}^{4}", 2),
        ("))^", 1),
    ],
)
def test_stacked_exponents_are_counted(answer: str, depth: int) -> None:
    assert count_exponents(answer) == depth


@given(st.text())
def test_the_caps_hold_for_any_text(text: str) -> None:
    assert find_broken_cap(text) == find_broken_cap(text)
