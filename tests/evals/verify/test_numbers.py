"""Numbers that are compared without a parser."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verify.numbers import compare_numbers, read_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", Fraction(7)),
        ("-7", Fraction(-7)),
        ("+2", Fraction(2)),
        ("007", Fraction(7)),
        ("1,234.5", Fraction(2469, 2)),
        (".5", Fraction(1, 2)),
        ("3.", Fraction(3)),
        ("3/4", Fraction(3, 4)),
        ("-1./3", Fraction(-1, 3)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\frac{35}{9}", Fraction(-35, 9)),
        (r"\frac43", Fraction(4, 3)),
        (r"\frac9{19}", Fraction(9, 19)),
        (r"\frac{270}7", Fraction(270, 7)),
        (r"1\frac{4}{5}", Fraction(9, 5)),
        (r"1 \frac{4}{5}", Fraction(9, 5)),
        ("4.5e3", Fraction(4500)),
        ("1e-5", Fraction(1, 100_000)),
        (r"4.5 \times 10^{3}", Fraction(4500)),
        (r"2 \cdot 10^3", Fraction(2000)),
        ("50%", Fraction(50)),
    ],
)
def test_a_number_is_read_however_it_is_written(text: str, value: Fraction) -> None:
    found = read_number(text)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "text", ["", "x", "1 2", "1,23", "0,123", "1/0", r"\frac{1}{0}", "2^3", "nan", "inf", "1e9999", "9" * 61, "5m"]
)
def test_what_is_no_number_is_left_to_a_parser(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("7", "7", True),
        ("27", "27.0", True),
        ("-0", "0", True),
        ("7", "8", False),
        ("27", "28.0", False),
        ("204.01", "204", False),
        ("0.5", r"\frac{1}{2}", True),
        ("0.333333", "1/3", True),  # to six places
        ("0.3333", "1/3", False),
        ("0.3333333", "0.333333", True),
        (r"\frac{333333}{1000000}", r"\frac13", False),  # fractions are exact
        ("0", "1e-8", False),  # small numbers need four significant digits
        ("1e-8", "5.89e-7", False),
        ("0.000067", ".0000672", False),
        ("0.00006720", ".0000672", True),
        ("4.5e33", r"4.5 \times 10^{33}", True),
        ("50%", "0.5", True),
        ("50%", "50", True),
        ("50", "50%", True),
        ("0.5%", "0.5%", True),
        ("50%", "0.5%", False),
        ("x", "5", None),
        ("5", "x", None),
    ],
)
def test_numbers_are_compared_exactly_or_to_six_places(answer: str, reference: str, expected: bool | None) -> None:
    assert compare_numbers(answer, reference) is expected
    assert compare_numbers(reference, answer) is expected


@given(st.integers(-(10**20), 10**20), st.integers(-(10**20), 10**20))
def test_integers_are_equal_however_they_are_grouped(left: int, right: int) -> None:
    assert compare_numbers(f"{left:,}", str(right)) is (left == right)
    assert compare_numbers(f"{left:,}", str(left)) is True


@given(st.fractions(max_denominator=10**6))
def test_a_fraction_equals_itself_in_every_notation(value: Fraction) -> None:
    sign, size = "-" * (value < 0), abs(value)
    slash, latex = (
        f"{sign}{size.numerator}/{size.denominator}",
        (rf"{sign}\frac{{{size.numerator}}}{{{size.denominator}}}"),
    )
    assert compare_numbers(slash, latex) is True
    assert compare_numbers(slash, rf"{sign}\frac{{{size.numerator + 1}}}{{{size.denominator}}}") is False


@given(st.text())
def test_any_text_is_a_number_or_not(text: str) -> None:
    assert read_number(text) is None or compare_numbers(text, text) is True
