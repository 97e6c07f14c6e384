"""What an answer equals without a parser, and what a parser is asked."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.verify import Form, Verifier
from evals.verify.golds import Question, compare, compare_leaf, read_reference

MATH = Form()


def judged(answer: str, gold: str, form: Form = MATH) -> bool | None:
    found = compare(answer, read_reference(gold, form), form)
    return None if isinstance(found, Question) else found


@pytest.mark.parametrize(
    ("answer", "gold", "form", "expected"),
    [
        (r"\dfrac{1}{2}", r"\frac12", MATH, True),
        ("50%", "0.5", MATH, True),
        ("(1,2]", "[1,2]", MATH, False),
        ("(-2, 7]", r"x \in (-2,7]", MATH, True),
        ("(2,1)", "(1,2)", MATH, False),
        ("x=5", "5", MATH, True),
        ("f(n)=2n", "f(x)=2x", MATH, True),
        ("32348 dollars", r"\$32,\!348", MATH, True),
        (r"5 \text{ m}", r"5 \text{ cm}", MATH, False),
        (r"\text{Even}", "even", MATH, True),
        (r"\text{odd}", r"\text{even}", MATH, False),
        ("C", r"\text{(C)}", MATH, True),
        ("45 minutes", "45", Form(unit="minute"), True),
        ("45", "45", Form(unit="minute"), True),
        ("45 hours", "45", Form(unit="minute"), False),
        ("166 cm^2", "$166$", Form(unit="$cm^2$"), True),
        ("0.042", "4.2", Form(unit="%"), True),
        ("90", r"90^\circ", MATH, True),
        ("3, 1", "1,3", Form(several=True), True),
        ("1 and 3", "1,3", Form(several=True), True),
        ("1", "1,3", Form(several=True), False),
        ("1, 1", "1,3", Form(several=True), False),
        ("1, 3, 3", "1,3", Form(several=True), False),
        ("1, 3, 5", "1,3", Form(several=True), False),
        ("6,764 and 10,945", "6764,10945", Form(several=True), True),
        ("(2,1),(1,2)", "(1,2),(2,1)", Form(several=True), True),
        ("(2,1),(2,1)", "(1,2),(2,1)", Form(several=True), False),
        (r"1-\sqrt{19}, 1+\sqrt{19}", r"1 \pm \sqrt{19}", MATH, True),
        ("x(x+1)", "x^2+x", MATH, None),
    ],
)
def test_much_is_decided_without_a_parser(answer: str, gold: str, form: Form, expected: bool | None) -> None:
    assert judged(answer, gold, form) is expected


@pytest.mark.parametrize(("left", "right"), [("1 2", "12"), ("x y", "y x"), ("abc", "cab")])
def test_what_is_not_plainly_equal_is_not_called_so(left: str, right: str) -> None:
    assert compare_leaf(left, right) is not True


NUMBERS = st.integers(-999, 999).map(str) | st.sampled_from([r"\frac{1}{3}", r"\sqrt{2}", r"\pi", "0.25", "x+1", "2^n"])


@given(NUMBERS | st.lists(NUMBERS, min_size=2, max_size=4).map(lambda parts: f"({', '.join(parts)})"), st.booleans())
def test_every_reference_equals_itself_in_a_box(gold: str, several: bool) -> None:
    [verdict] = Verifier().verify([(rf"So \boxed{{{gold}}}.", gold)], [Form(several=several)])
    assert verdict.correct is True


@given(st.lists(NUMBERS, min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_several_values_may_come_in_any_order(values: list[str], draw: random.Random) -> None:
    mixed = draw.sample(values, len(values))
    gold = ",".join(values)
    assert judged(", ".join(mixed), gold, Form(several=True)) is True
    assert judged(rf"\{{{','.join(mixed)}\}}", rf"\{{{gold}\}}") is True


@given(st.lists(st.integers(0, 99), min_size=2, max_size=6, unique=True))
def test_a_value_left_out_or_said_twice_is_wrong(values: list[int]) -> None:
    gold = ",".join(map(str, values))
    assert judged(",".join(map(str, values[1:])), gold, Form(several=True)) is False
    assert judged(",".join(map(str, [*values, values[0]])), gold, Form(several=True)) is False
    assert judged(",".join(map(str, [*values[1:], values[1]])), gold, Form(several=True)) is False


@given(st.sampled_from("(["), st.sampled_from(")]"), st.sampled_from("(["), st.sampled_from(")]"), st.integers(0, 9))
def test_the_ends_of_an_interval_matter(left: str, right: str, other_left: str, other_right: str, low: int) -> None:
    expected = (left, right) == (other_left, other_right)
    assert judged(rf"{left}{low}, \infty{right}", rf"{other_left}{low},\infty{other_right}") is expected


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 99).map(str), min_size=1, max_size=4))
def test_only_the_last_box_counts(said: list[str]) -> None:
    completion = " then ".join(rf"\boxed{{{one}}}" for one in said)
    assert Verifier().verify([(completion, said[-1])])[0].correct is True
    assert Verifier().verify([(rf"{completion} no: \boxed{{-1}}", said[-1])])[0].correct is False
