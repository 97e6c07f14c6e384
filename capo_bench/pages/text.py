"""Numbers, long texts and tables as a page shows them; tables in Markdown, CSV and LaTeX. HTML is the template's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from capo_bench.inert import for_latex, for_markdown, for_page, write_csv

NOTHING = "–"
"""A cell for a number that nothing defines."""


def format_percent(value: float | None) -> str:
    """Return a share in per cent, without the sign."""
    return NOTHING if value is None or not math.isfinite(value) else f"{100 * value:.1f}"


def format_two_digits(value: float | None) -> str:
    """Return a number with two digits after the point: ``−0.12``."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value + 0.0:.2f}".replace("-", "−")


def format_with_interval(
    value: float | None, low: float | None, high: float | None, show: Callable[[float | None], str] = format_percent
) -> str:
    """Return a number with its interval: ``67.1 [62.0, 71.3]``; of a number without one the number alone."""
    ends = "" if value is None or low is None or high is None else f" [{show(low)}, {show(high)}]"
    return f"{show(value)}{ends}"


def write_yaml(value: object) -> str:
    """Return plain data as YAML."""
    import yaml

    # libyaml's writer where there is one: it is ten times as fast.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(value, None, dumper, sort_keys=False, allow_unicode=True))


def clip_text(text: str, most: int) -> str:
    """Return a text of at most about `most` characters: its beginning and its end, where a critic's verdict stands."""
    if len(text) <= most:
        return for_page(text)
    head, tail = most * 3 // 4, most // 4
    left_out = len(text) - head - tail
    return f"{for_page(text[:head])}\n… {left_out:,} characters left out …\n{for_page(text[-tail:])}"


def format_signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, as text has it: ``+0.82``, ``−1``, ``0``."""
    shown = f"{value:+.{digits}f}".rstrip("0").rstrip(".")
    return "0" if shown in {"+0", "-0"} else shown.replace("-", "−")


def format_plain(value: float) -> str:
    """Return a number without a plus: ``2``, ``−0.5``."""
    return f"{value:g}".replace("-", "−")


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row, the others are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def select_with_rows(*tables: Table) -> list[Table]:
    """Return the tables that have rows."""
    return [table for table in tables if table.rows]


def render_markdown_table(table: Table) -> str:
    """Return the table in Markdown."""
    lines = [list(table.headings), ["---"] + ["---:"] * (len(table.headings) - 1)]
    lines[0] = [for_markdown(heading) for heading in lines[0]]
    lines += [[for_markdown(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def format_csv(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file; None is an empty cell."""
    return write_csv([headings, *lines])


def format_csv_of_rows(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows of the same names as a CSV file, with the names of the first as headings."""
    return format_csv(list(rows[0]) if rows else [], [list(row.values()) for row in rows])


def render_latex_table(table: Table) -> str:
    """Return a table environment in the rules of `booktabs`, which its document needs; every character is escaped."""
    columns = "l" + "r" * (len(table.headings) - 1)
    lines = [" & ".join(map(for_latex, row)) + r" \\" for row in (table.headings, *table.rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{for_latex(table.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
