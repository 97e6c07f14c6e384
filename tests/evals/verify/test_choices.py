"""Which letter a completion settles on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verify import Form, Verifier
from evals.verify.choices import NO_OPTION, choose, find_letter

OPTIONS = ("a cat", "5 m", "blue", "Rr", "rr")


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (r"\boxed{B}", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{b}", "B"),
        (r"\boxed{B.}", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{\text{(B)}}", "B"),
        (r"\boxed{\textbf{(B)}\ 5 m}", "B"),
        (r"\boxed{B: 5 m}", "B"),
        (r"\boxed{B) 5 m}", "B"),
        (r"\boxed{B. 5 m}", "B"),
        (r"\boxed{Option B}", "B"),
        (r"\boxed{5 m}", "B"),
        (r"\boxed{\text{5 m}}", "B"),
        (r"\boxed{A cat}", "A"),
        (r"\boxed{Rr}", "D"),
        (r"\boxed{rr}", "E"),
        (r"\boxed{Z}", "Z"),  # beyond the options, so wrong
        (r"\boxed{5}", NO_OPTION),
        (r"\boxed{A} or rather \boxed{C}", "C"),
        (r"The answer is A. \boxed{C}", "C"),
        ("The answer is B", "B"),
        ("The answer is (B).", "B"),
        ("the answer is: B, since it fits", "B"),
        ("The answer is B because it fits", "B"),
        ("The answer is (B) 5 m.", "B"),
        (r"The answer is $\text{B}$.", "B"),
        (r"The answer is \(B\).", "B"),
        ("answer: (C)", "C"),
        ("**Answer:** B", "B"),
        ("**Answer: B**", "B"),
        ("Answer:\n\nB", "B"),
        ("The correct option is **B**.", "B"),
        ("The answer is A.", "A"),
        ("The answer is A cat.", "A"),
        ("The answer is A dog.", NO_OPTION),
        ("The answer is I think not known.", NO_OPTION),
        ("The answer is not A; the answer is B.", "B"),
        ("The answer is B. The other answers are worse.", "B"),
        ("It must be so.\nB", "B"),
        ("It must be so.\n(B).", "B"),
        ("It must be so.\n**B**", "B"),
    ],
)
def test_a_letter_is_found_where_it_was_settled_on(completion: str, expected: str) -> None:
    found = choose(completion, "stated", OPTIONS)
    assert found is not None
    assert found[1] == expected


@pytest.mark.parametrize(
    "completion", ["", "A dog walks in the park.", "Both (A) and (B) fit well.", r"\boxed{ }", "I"]
)
def test_prose_settles_on_nothing(completion: str) -> None:
    found = choose(completion, "stated", OPTIONS)
    assert found is None or completion == "I"


def test_a_letter_in_parentheses_is_the_last_resort() -> None:
    assert choose("Either (A) fits or, better, (B) does", "stated", OPTIONS) is None
    assert choose("Either (A) fits or, better, (B) does", "last_number", OPTIONS) == ("B", "B")
    assert choose("The answer is B", "boxed", OPTIONS) is None


def test_an_options_text_counts_where_it_names_one_option_only() -> None:
    assert find_letter("same", ("same", "other")) == "A"
    assert find_letter("same", ("same", "Same.")) == "A"  # by its capitals
    assert find_letter("same", ("same", "same")) is None


def test_the_letter_of_an_option_that_is_a_letter() -> None:
    assert find_letter("E", ("U", "E", "Y")) == "B"  # there is no fifth option
    assert find_letter("B", ("A", "C", "B")) == "B"  # a letter is a letter first


def test_a_choice_is_judged_by_its_letter_alone() -> None:
    form = Form("choice", options=OPTIONS)
    completions = [r"\boxed{B}", r"\boxed{5 m}", r"\boxed{C}", r"\boxed{Z}", "A dog walks", "no"]
    verdicts = Verifier().verify([(completion, "B") for completion in completions], [form] * len(completions))
    assert [verdict.status for verdict in verdicts] == ["right", "right", "wrong", "wrong", "no_answer", "no_answer"]


@given(
    st.sampled_from("ABCDEFGHIJ"), st.sampled_from("ABCDEFGHIJ"), st.sampled_from(["{}", "({})", "{}.", r"\text{{{}}}"])
)
def test_only_the_references_letter_is_right(said: str, gold: str, written: str) -> None:
    options = tuple(f"option number {index}" for index in range(10))
    completion = rf"I see. \boxed{{{written.format(said)}}}"
    [verdict] = Verifier().verify([(completion, gold)], [Form("choice", options=options)])
    assert verdict.correct is (said == gold)


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=5))
def test_any_text_can_be_read(completion: str, options: list[str]) -> None:
    found = choose(completion, "last_number", options)
    assert found is None or len(found[1]) == 1


def test_what_a_model_thinks_is_no_choice():
    assert choose(r"<think>\boxed{A}</think> The answer is B", "stated", OPTIONS) == ("B", "B")
    assert choose(r"<think>\boxed{A}", "stated", OPTIONS) is None
