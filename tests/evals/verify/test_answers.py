"""Where an answer is found, and how it is written for comparison."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.verify.answers import READ_CHARACTERS, clean, extract, read_boxed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{5}.", "5"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{1} and then \boxed{2", "1"),
        (r"} } \boxed{4}", "4"),
        (r"{ { \boxed{4}", "4"),
        (r"\boxed{}", ""),
        (r"\boxed 5", None),
        (r"\boxed{5", None),
        ("", None),
    ],
)
def test_boxed_takes_the_last_box_that_closes(text: str, expected: str | None) -> None:
    assert read_boxed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} and \boxed{2}", "1, 2"),
        (r"$\boxed{1}$, $\boxed{2}$ or \(\boxed{3}\)", "1, 2, 3"),
        (r"\boxed{1} so \boxed{2}, \boxed{3}", "2, 3"),
        (r"\boxed{\boxed{3}}", "3"),
        ("none", None),
    ],
)
def test_several_values_may_stand_in_boxes_side_by_side(text: str, expected: str | None) -> None:
    assert extract(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The answer is 12.", "12"),
        ("The final answer is 3.5. I hope it is correct.", "3.5"),
        ("the answer is 3. No: the answer is 4. Done.", "4"),
        (r"The answer is $\frac{1}{2}$ of it.", r"\frac{1}{2}\text{ of it}"),
        (r"the answer is: \(x+1\), as shown", r"x+1\text{, as shown}"),
        ("the answer is:\n\\[\n12\n\\]\nas shown", "12"),
        ("**Answer**: 8", "8"),
        ("### Final Answer\n\n$$12$$", "12"),
        ("The answer is $18, as each egg sells for $2.", "$18, as each egg sells for $2"),
        (r"The answer is $\$42$.", r"\$42"),
        (r"The answer is $-1$ and $3$.", r"-1\text{ and }3"),
        (r"The answer: the roots of $p$ are $2$ and $3$.", r"2\text{ and }3"),
        ("Is the answer: 5? No.", None),
        ("<answer>8</answer>", "8"),
        ("**Answer:** 8", "8"),
        ("Final answer: **9**\nthanks", "9"),
        ("2+2=4\n#### 1,234\n", "1,234"),
        ("the answer is 1\n#### 2", "1"),
        (r"the answer is 1, \boxed{2}", "2"),
        ("it makes 12 of them", None),
        ("answers are many", None),
        (r"the answer is 5, \boxed{}", None),
        ("the answer is", None),
    ],
)
def test_stated_answers_come_after_boxed_ones(text: str, expected: str | None) -> None:
    assert extract(text, "stated") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("first 3, then 12 of them.", "12"),
        ("that is $1,234.50.", "1,234.50"),
        ("so -3/4", "-3/4"),
        (r"with 2 of them, thus \(x = \frac{1}{3}\).", r"x = \frac{1}{3}"),
        (r"\[ x = 5 \]", "x = 5"),
        ("it is $2n$ in all", "2n"),
        (r"from \(x\) we get 7", "7"),
        ("costs $5 or $6", "6"),
        ("a2 and x3", None),
        ("the answer is 7, not 8", "7, not 8"),
        ("so 12 million", "12 million"),
        ("it is more than 7", None),
        ("no digits", None),
    ],
)
def test_the_last_number_is_the_last_resort(text: str, expected: str | None) -> None:
    assert extract(text, "last_number") == expected


def test_the_boxed_style_reads_boxes_only() -> None:
    assert extract("the answer is 5\n#### 5", "boxed") is None
    assert extract(r"\boxed{ 5 }", "boxed") == "5"


def test_only_the_end_of_a_completion_is_read() -> None:
    assert extract(r"\boxed{1}" + "x" * READ_CHARACTERS) is None
    assert extract("x" * READ_CHARACTERS + r"\boxed{1}") == "1"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (" $5$. ", "5"),
        (r"\(5\)", "5"),
        (r"50\%", "50%"),
        ("$11$,$13$", "11,13"),
        (r"\$12", r"\$12"),
        (r"5\,000", "5000"),
        (r"5\,00", r"5\,00"),
        ("a\n  b", "a b"),
        ("~12~cm", "12 cm"),
        (r"5\ ", "5"),
        ("0.5.", "0.5"),
        ("$ $", ""),
    ],
)
def test_clean_leaves_one_way_to_write_an_answer(written: str, expected: str) -> None:
    assert clean(written) == expected


@given(st.text(alphabet=r"\boxed{}1 $.answr:#", max_size=200))
def test_extraction_holds_for_any_text(text: str) -> None:
    found = extract(text, "last_number")
    assert found is None or found == found.strip() != ""


@given(st.text(alphabet="0123456789+x^/ ", min_size=1).filter(str.strip), st.text(alphabet="ab{} \n", max_size=50))
def test_whatever_is_boxed_last_is_found(answer: str, before: str) -> None:
    assert extract(f"{before}\\boxed{{{answer}}}") == answer.strip()


@given(st.text(max_size=50))
def test_a_clean_answer_has_single_spaces_and_no_full_stop(text: str) -> None:
    assert "  " not in clean(text)
    assert not clean(text).endswith((".", ",", " ", "\\"))


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"<think>Maybe \boxed{12}?</think> The answer is 15.", "15"),
        ("<think>the answer is 12. Wait,", None),
        ("The box \\boxed{12}? hmm\n</think>\n\n#### 15", "15"),  # the prompt opened the thought
        (r"<think>a</think>\boxed{3}<think>b</think>so \boxed{4}", "4"),
        (r"<think>a</think>\boxed{3}<think>cut", None),
        (r"I <thinking> that \boxed{7}", "7"),
    ],
)
def test_what_a_model_thinks_is_no_answer(completion, answer):
    assert extract(completion) == answer


@pytest.mark.parametrize(
    "text",
    [
        "There is no answer because the denominator is 0.",
        "There is no solution since the discriminant is 0.",
        "The limit does not exist because the slope is 0.",
        "The answer cannot be determined, as we get 0.",
        "No answer exists; the denominator equals 0.",
        "We cannot give an answer because x is 0.",
        "I have no answer: 0",
        "It is not true that the answer is 0.",
        "The wrong answer is 0.",
    ],
)
def test_a_reason_why_there_is_no_answer_is_none(text: str) -> None:
    assert extract(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There is no solution for x < 0 because of the root, so there are 3.", "3"),
        ("Since there is no remainder, the answer is 0.", "0"),
        ("The incorrect answer is 3. The answer is 4.", "4"),
        ("No answer is given in the table. Adding gives 9.", "9"),
        ("The function is undefined at x = 8.", "8"),
        ("It is impossible to have half a person, so we get 12", "12"),
    ],
)
def test_what_is_concluded_from_it_is_an_answer(text: str, expected: str) -> None:
    assert extract(text) == expected
