from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evals.registry import UnknownNameError
from trainers.credit.segment import SEGMENTERS, blank_lines, lines, spans_of, step_texts

texts = st.text(st.sampled_from("ab é😀\n\r\t "), max_size=40) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one", ["one"]),
        ("one\n\ntwo", ["one\n\n", "two"]),
        ("one\n\ntwo\n\nthree", ["one\n\n", "two\n\n", "three"]),
        ("one\ntwo", ["one\ntwo"]),
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
def test_blank_lines_cut_after_the_separator(text, parts):
    assert [text[start:end] for start, end in blank_lines(text)] == parts


def test_lines_cuts_after_every_line_that_says_something():
    text = "one\ntwo\n\n \nthree\n"
    assert [text[start:end] for start, end in lines(text)] == ["one\n", "two\n\n \n", "three\n"]
    assert step_texts(text, lines(text)) == ("one", "two", "three")


def test_critics_read_steps_without_the_whitespace_around_them():
    text = "\n\n She has 3. \n\n\tShe finds 4.\n\n"
    assert step_texts(text, blank_lines(text)) == ("She has 3.", "She finds 4.")


def test_an_empty_text_is_one_empty_step():
    assert step_texts("", blank_lines("")) == ("",)
    assert step_texts(" \n", lines(" \n")) == ("",)


@pytest.mark.parametrize("name", SEGMENTERS.names())
@given(text=texts)
@example(text="\n\n")
@example(text="\n\n\na\n \n")
def test_steps_partition_any_text(name, text):
    spans = SEGMENTERS.get(name)(text)
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(before[1] == after[0] for before, after in pairwise(spans))
    assert "".join(text[start:end] for start, end in spans) == text


@pytest.mark.parametrize("name", SEGMENTERS.names())
@given(text=texts)
def test_no_step_is_blank_unless_the_text_is(name, text):
    steps = step_texts(text, SEGMENTERS.get(name)(text))
    assert all(steps) if text.strip() else steps == ("",)


@given(text=texts)
def test_a_step_holds_no_blank_line(text):
    assert all("\n\n" not in step for step in step_texts(text, blank_lines(text)))


def test_blank_parts_join_the_step_before_and_leading_ones_the_step_after():
    assert spans_of("ab", [1]) == [(0, 1), (1, 2)]
    assert spans_of(" a b ", [1, 2, 3, 4]) == [(0, 3), (3, 5)]
    assert spans_of("  ", [1]) == [(0, 2)]


def test_an_unknown_segmenter_is_named_with_the_nearest_known():
    with pytest.raises(UnknownNameError, match="did you mean 'blank_lines'"):
        SEGMENTERS.get("blank_line")
