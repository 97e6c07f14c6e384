from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evals.coins.problems import draw_chain
from evals.coins.pupil import Pupil
from evals.coins.solutions import attempt, demonstrate
from evals.registry import UnknownNameError
from trainers.credit.segment import (
    SEGMENTERS,
    blank_lines,
    cut_spans,
    lines,
    list_step_texts,
    sentences,
    step_marks,
    windows,
    windows_8,
)

texts = st.text(st.sampled_from("ab é😀\n\r\t "), max_size=40) | st.text(max_size=40)
PIECES = [
    *"a.:?!$",
    "ab",
    "e.g.",
    "3.5",
    "5!",
    "Step 2",
    "...",
    "1.",
    "2)",
    "**",
    "### ",
    "\\[",
    "\\]",
    " ",
    "\n",
    "\n\n",
]
written = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
"""Texts of what the segmenters look for, in any order."""


def parts(segmenter, text):
    return [text[start:end] for start, end in segmenter(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one", ["one"]),
        ("one\n\ntwo", ["one\n\n", "two"]),
        ("one\n\ntwo\n\nthree", ["one\n\n", "two\n\n", "three"]),
        ("one\ntwo", ["one\ntwo"]),
        ("```\na\n\nb\n```\n\ntwo", ["```\na\n\nb\n```\n\n", "two"]),
        ("~~~py\na\n\n```\n\nb\n~~~\n\ntwo", ["~~~py\na\n\n```\n\nb\n~~~\n\n", "two"]),
        ("````\n```\na\n\n```\n\nb\n````\n\ntwo", ["````\n```\na\n\n```\n\nb\n````\n\n", "two"]),
        (
            "```md\na\n\n```py\n\nb\n```\n\ntwo",
            ["```md\na\n\n```py\n\nb\n```\n\n", "two"],
        ),  # a second opening closes none
        ("```\na\n\n~~~~\n\nb", ["```\na\n\n", "~~~~\n\n", "b"]),
        ("so\n$$\na\n\nb\n$$\n\ntwo", ["so\n$$\na\n\nb\n$$\n\n", "two"]),
        ("so \\[ a\n\nb \\]\n\ntwo", ["so \\[ a\n\nb \\]\n\n", "two"]),
        (
            "\\begin{align*}\na\n\nb\n\\end{align*}\n\ntwo",
            ["\\begin{align*}\na\n\nb\n\\end{align*}\n\n", "two"],
        ),
        ("```\na\n\nb", ["```\na\n\n", "b"]),  # a block that does not close holds nothing together
        ("\\] a\n\nb \\[", ["\\] a\n\n", "b \\["]),
        ("\\begin{a}\n\n\\end{b}", ["\\begin{a}\n\n", "\\end{b}"]),
        ("costs \\$\\$ 5\n\nor \\$\\$ 6", ["costs \\$\\$ 5\n\n", "or \\$\\$ 6"]),
        ("a \\\\[2pt]\n\nb \\]", ["a \\\\[2pt]\n\n", "b \\]"]),  # a line break of a matrix
        ("one\n\n\n\ntwo", ["one\n\n\n\n", "two"]),
        ("one\n \t\ntwo", ["one\n \t\n", "two"]),
        ("one\r\n\r\ntwo", ["one\r\n\r\n", "two"]),
        ("one\r\ntwo", ["one\r\ntwo"]),
        ("one  \n\n   two", ["one  \n\n", "   two"]),
        ("one\n\n", ["one\n\n"]),
        ("one\n\n  ", ["one\n\n  "]),
        ("\n\none\n\ntwo", ["\n\none\n\n", "two"]),
        ("  \n\n  \n\none", ["  \n\n  \n\none"]),
        ("é😀\n\nü", ["é😀\n\n", "ü"]),
        ("", [""]),
        (" \n\n ", [" \n\n "]),
    ],
)
def test_blank_lines_cut_after_the_separator(text, expected):
    assert parts(blank_lines, text) == expected


def test_lines_cuts_after_every_line_that_says_something():
    text = "one\ntwo\n\n \nthree\n"
    assert parts(lines, text) == ["one\n", "two\n\n \n", "three\n"]
    assert list_step_texts(text, lines(text)) == ("one", "two", "three")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She has 3. She finds 4.", ["She has 3. ", "She finds 4."]),
        ("Is it 7? Yes! It is.", ["Is it 7? ", "Yes! ", "It is."]),
        ("She has 3.\nShe finds 4.\n", ["She has 3.\n", "She finds 4.\n"]),
        ("It is 3.5 m. Add 1.25 m.", ["It is 3.5 m. ", "Add 1.25 m."]),
        ("Take a prime, e.g. 7, i.e. no product.", ["Take a prime, e.g. 7, i.e. no product."]),
        ("By Eq. 3, cf. Fig. 2, it holds. Done.", ["By Eq. 3, cf. Fig. 2, it holds. ", "Done."]),
        ("1. Add 3. Then 4.\n2. Take 5.", ["1. Add 3. ", "Then 4.\n", "2. Take 5."]),
        ("**Step 2.** Add 3. So 7.", ["**Step 2.** Add 3. ", "So 7."]),
        ("We get 19. Then 20.", ["We get 19. ", "Then 20."]),
        ("1 + 2 + ... + n is a sum. So.", ["1 + 2 + ... + n is a sum. ", "So."]),
        ("There are 5! = 120 and n! ways.", ["There are 5! = 120 and n! ways."]),
        ('He said "No." (It was so.) Then', ['He said "No." ', "(It was so.) ", "Then"]),
        ("So $x = 3.5$. Then y.", ["So $x = 3.5$. ", "Then y."]),
        ("Let $f. g$ be it. So.", ["Let $f. g$ be it. ", "So."]),
        (r"Let \(a. b\) be it. So.", [r"Let \(a. b\) be it. ", "So."]),
        ("So\n\\[ x = 5. \\]\nThen", ["So\n\\[ x = 5. \\]\n", "Then"]),  # the stop is the formula's last
        ("So\n$$x. y$$\nand z. So.", ["So\n$$x. y$$\nand z. ", "So."]),
        (
            r"So \begin{align*} x &= 1. \end{align*} Then. So.",
            [r"So \begin{align*} x &= 1. \end{align*} Then. ", "So."],
        ),
        ("It costs $5. Then $3 more.", ["It costs $5. ", "Then $3 more."]),  # money is no formula
        ("## A heading\n\nOne. Two.", ["## A heading\n\n", "One. ", "Two."]),
        ("3 + 4 = 7\n\n7 - 2 = 5", ["3 + 4 = 7\n\n", "7 - 2 = 5"]),
        ("Run:\n```\na. b? c\n```\nDone. So.", ["Run:\n```\na. b? c\n```\nDone. ", "So."]),
        ("and so on", ["and so on"]),
    ],
)
def test_sentences_cut_after_each_and_in_no_number_abbreviation_list_or_formula(text, expected):
    assert parts(sentences, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Step 1: a\nb\nStep 2: c", ["Step 1: a\nb\n", "Step 2: c"]),
        ("**Step 1**\na\n\n**Step 2: b**\nc", ["**Step 1**\na\n\n", "**Step 2: b**\nc"]),
        ("### Step 1\na\n### **Step 2**\nb", ["### Step 1\na\n", "### **Step 2**\nb"]),
        ("step 1 - a\nSTEP 2\nb", ["step 1 - a\n", "STEP 2\nb"]),
        ("1. a\n\nb\n2. c\n  3) d", ["1. a\n\nb\n", "2. c\n", "  3) d"]),
        ("First look.\n\n1. a\n2. b", ["First look.\n\n", "1. a\n", "2. b"]),
        ("\n\n1. a\n2. b", ["\n\n1. a\n", "2. b"]),
        ("1. a\n```\n1. x\n2. y\n```\n2. b", ["1. a\n```\n1. x\n2. y\n```\n", "2. b"]),
        ("1. a\n\\[\n2. x\n\\]\n2. b", ["1. a\n\\[\n2. x\n\\]\n", "2. b"]),
        ("**1.** a\n## 2. b", ["**1.** a\n", "## 2. b"]),
        ("a\nStep 2 says so\n3.14 is it\n3 + 4 = 7", ["a\nStep 2 says so\n3.14 is it\n3 + 4 = 7"]),
        ("It was Step 1: a", ["It was Step 1: a"]),
        ("3 + 4 = 7\n\n7 - 2 = 5\n\n\\boxed{5}", ["3 + 4 = 7\n\n7 - 2 = 5\n\n\\boxed{5}"]),
    ],
)
def test_step_marks_cut_before_lines_that_open_with_one(text, expected):
    assert parts(step_marks, text) == expected


def test_windows_cut_after_so_many_words_wherever_that_is():
    assert parts(windows_8, "3 + 4 = 7\n\n7 - 2 = 5\n\n\\boxed{5}") == ["3 + 4 = 7\n\n7 - 2 ", "= 5\n\n\\boxed{5}"]
    assert [parts(lambda text, n=n: windows(n, text), " a b\nc ") for n in (1, 2, 3)] == [
        [" a ", "b\n", "c "],
        [" a b\n", "c "],
        [" a b\nc "],
    ]


@given(size=st.integers(1, 9), text=texts | written)
def test_windows_hold_their_words_and_only_the_last_has_fewer(size, text):
    *full, last = list_step_texts(text, windows(size, text))
    assert [len(step.split()) for step in full] == [size] * len(full)
    assert len(last.split()) <= size


@pytest.mark.parametrize("size", [8, 16, 32, 64])
def test_windows_are_named_after_their_words(size):
    text = " ".join(map(str, range(200)))
    assert SEGMENTERS.get(f"windows_{size}")(text) == windows(size, text)


@given(text=texts | written)
def test_a_sentence_holds_no_blank_line(text):
    assert {start for start, _ in blank_lines(text)} <= {start for start, _ in sentences(text)}


@given(st.integers(0, 2**32), st.floats(0, 0.5))
def test_on_coins_lines_and_sentences_are_the_blank_lines_and_there_are_no_marks(seed, slip):
    chain = draw_chain(random.Random(seed), (2, 9))
    for text in (
        demonstrate(chain, random.Random(seed), Pupil(slip=slip)),
        "\n\n".join(attempt(chain, random.Random(seed), Pupil(slip=slip), slip)),
    ):
        assert blank_lines(text) == lines(text) == sentences(text)
        assert step_marks(text) == [(0, len(text))]


def test_critics_read_steps_without_the_whitespace_around_them():
    text = "\n\n She has 3. \n\n\tShe finds 4.\n\n"
    assert list_step_texts(text, blank_lines(text)) == ("She has 3.", "She finds 4.")


def test_a_step_that_is_cut_within_a_line_says_so_by_the_space_after_it():
    assert list_step_texts("a b\n\nc d \n e\t\tf ", [(0, 2), (2, 5), (5, 7), (7, 10), (10, 14), (14, 16)]) == (
        *("a ", "b", "c ", "d", "e ", "f"),
    )


def test_an_empty_text_is_one_empty_step():
    assert list_step_texts("", blank_lines("")) == ("",)
    assert list_step_texts(" \n", lines(" \n")) == ("",)


@pytest.mark.parametrize("name", SEGMENTERS.names())
@given(text=texts | written)
@example(text="\n\n")
@example(text="\n\n\na\n \n")
def test_steps_partition_any_text(name, text):
    spans = SEGMENTERS.get(name)(text)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert "".join(text[start:end] for start, end in spans) == text


@pytest.mark.parametrize("name", SEGMENTERS.names())
@given(text=texts | written)
def test_no_step_is_blank_unless_the_text_is(name, text):
    steps = list_step_texts(text, SEGMENTERS.get(name)(text))
    assert all(steps) if text.strip() else steps == ("",)


@given(text=texts)
def test_a_step_holds_no_blank_line(text):
    assert all("\n\n" not in step for step in list_step_texts(text, blank_lines(text)))


def test_blank_parts_join_the_step_before_and_leading_ones_the_step_after():
    assert cut_spans("ab", [1]) == [(0, 1), (1, 2)]
    assert cut_spans(" a b ", [1, 2, 3, 4]) == [(0, 3), (3, 5)]
    assert cut_spans("  ", [1]) == [(0, 2)]


def test_an_unknown_segmenter_is_named_with_the_nearest_known():
    with pytest.raises(UnknownNameError, match="did you mean 'blank_lines'"):
        SEGMENTERS.get("blank_line")
