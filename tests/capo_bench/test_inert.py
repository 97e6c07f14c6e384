"""Text that does nothing: a table of hostile names against every sink."""

from __future__ import annotations

import csv
import io

import pytest

from capo_bench.inert import for_csv, for_latex, for_markdown, for_page, for_prose, for_terminal, write_csv

STEERING = (
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x07",
    "\x9b31m",
    "\u202egnp.exe",
    "\u2066x",
    "\x00",
    "\u2028",
    "\r",
    "\x7f",
)
FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3+cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    " =1",
    "|x",
    "%0A",
    "＝1+1",
    "＠SUM(A1)",
    "\u00a0=1",
)
MARKUP = (
    "<script>alert(1)</script>",
    "[x](javascript:1)",
    "![x](y)",
    "`x`",
    "**b**",
    "| a | b |",
    "\\input{x}",
    "$x^2$",
    "a & b_c % d # e",
)


@pytest.mark.parametrize("text", STEERING)
def test_nothing_that_steers_reaches_a_sink(text: str) -> None:
    for sink in (for_terminal, for_latex):
        assert sink(f"a{text}b").isprintable()
    for sink in (for_page, for_markdown):
        shown = sink(f"a{text}b")
        assert not any(c in shown for c in "\x1b\x07\x9b\u202e\u2066\x00\x7f\u2028\r")
    assert str(for_csv(f"a{text}b")).isprintable()


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_in_a_spreadsheet(text: str) -> None:
    assert str(for_csv(text))[0] in "'⟨"
    ((cell,),) = csv.reader(io.StringIO(write_csv([[text]])))
    assert cell[0] in "'⟨"


@pytest.mark.parametrize("text", ["-0.5", "+3 %", "1e-9", "−2", "−2.5 %", "majority", "", "a=b", "1,024"])
def test_numbers_and_plain_names_stay(text: str) -> None:
    assert for_csv(text) == text
    assert for_csv(-0.5) == -0.5
    assert for_csv(None) is None


@pytest.mark.parametrize("text", MARKUP)
def test_markup_is_escaped(text: str) -> None:
    shown = for_markdown(text)
    for sign in "`*_[]<>|#&$":
        assert shown.count(sign) == shown.count(f"\\{sign}")
    printed = for_latex(text)
    assert "\\input" not in printed
    for sign in "$&%#_":
        assert printed.count(sign) == printed.count(f"\\{sign}")


@pytest.mark.parametrize(
    ("sentence", "markdown"),
    [
        ("run `capo-bench run a_b --set c=1`.", "run `capo-bench run a_b --set c=1`."),
        ("a_b", "a\\_b"),
        ("one ` alone_", "one \\` alone\\_"),
        ("`a` and ` b", "`a` and \\` b"),
        ("empty `` here", "empty \\`\\` here"),
        ("`<script>\n*x*`", "`<script> *x*`"),
    ],
)
def test_what_stands_between_backticks_is_code_and_the_rest_of_a_sentence_is_literal(
    sentence: str, markdown: str
) -> None:
    assert for_prose(sentence) == markdown
