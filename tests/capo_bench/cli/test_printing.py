"""Tables and sentences fit the terminal, and break inside no number and no name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from capo_bench.cli.printing import lay_out, measure_cell

NAMES = st.text("abcdefgh=_,-漢é", min_size=1, max_size=40)
NUMBERS = st.sampled_from(["92,043", "+12.3 [+4.5, +20.1]", "1.2", "–", "3 × 256"])


def test_a_table_that_fits_is_one_block() -> None:
    assert lay_out(["variant", "mean ± 95 %"], [["union", "73.1 ± 2.0"], ["grpo", "9.0 ± 1.0"]], 80) == [
        "variant  mean ± 95 %",
        "───────  ───────────",
        "union     73.1 ± 2.0",
        "grpo       9.0 ± 1.0",
    ]


def test_headings_break_between_words_before_the_table_is_divided() -> None:
    assert lay_out(["variant", "policy tokens", "critic tokens"], [["union", "92,043", "1,000"]], 24) == [
        "          policy  critic",
        "variant   tokens  tokens",
        "───────  ───────  ──────",
        "union     92,043   1,000",
    ]


def test_what_does_not_fit_stands_below_with_the_names_again() -> None:
    assert lay_out(["variant", "policy", "critic"], [["vote=union", "92,043", "1,000"]], 20) == [
        "variant     policy",
        "──────────  ──────",
        "vote=union  92,043",
        "",
        "variant     critic",
        "──────────  ──────",
        "vote=union   1,000",
    ]


def test_names_of_several_columns_stay_together() -> None:
    rows = [["coins", "base", "10.0", "1"], ["coins", "tuned", "20.0", "2"]]
    lines = lay_out(["task", "model", "right", "tokens"], rows, 24)
    assert lines[2:4] == ["coins  base    10.0", "coins  tuned   20.0"]
    assert lines[-2:] == ["coins  base        1", "coins  tuned       2"]


def test_wide_names_stand_on_lines_of_their_own() -> None:
    name = "vote=intersection, critic=noisy"
    rows = [[name, "+12.3 [+4.5, +20.1]", "0.012"], ["grpo_rule", "–", "–"]]
    assert lay_out(["variant", "difference to grpo_rule", "p"], rows, 40) == [
        "  difference to grpo_rule      p",
        "  ───────────────────────  ─────",
        name,
        "      +12.3 [+4.5, +20.1]  0.012",
        "grpo_rule",
        "                        –      –",
    ]


@given(
    st.lists(
        st.tuples(NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5, unique_by=lambda row: row[0]
    ),
    st.lists(st.text("ab (%)", max_size=30), min_size=4, max_size=4),
    st.integers(45, 120),
)
def test_no_cell_ever_breaks_and_every_line_fits(rows: list[tuple[str, ...]], headings: list[str], width: int) -> None:
    lines = lay_out(["variant", *headings], rows, width)
    text = "\n".join(lines)
    assert all(cell in text for row in rows for cell in row)
    assert max(map(measure_cell, lines)) <= width


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    lines = lay_out(["variant", "n"], [["a\x1b[31mb\nc\a", "1"]], 80)
    assert lines[-1] == "a\\x1b[31mb\\nc\\x07  1"
