"""A table of text, and its renderers: Markdown, CSV, LaTeX. HTML is the template's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from capo_bench.inert import for_latex, for_markdown, write_csv


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row, the others are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def markdown(table: Table) -> str:
    """Return the table in Markdown."""
    lines = [list(table.headings), ["---"] + ["---:"] * (len(table.headings) - 1)]
    lines[0] = [for_markdown(heading) for heading in lines[0]]
    lines += [[for_markdown(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def comma_separated(headings: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Return a CSV file; None is an empty cell."""
    return write_csv([headings, *lines])


def latex(table: Table) -> str:
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
