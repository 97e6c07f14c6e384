"""Print tables and sentences that fit the terminal, without breaks inside a number or a name.

A table that is too wide is printed in parts, one below the other, each with the names of its rows. Very wide names get
separate lines.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from capo_bench.inert import for_terminal
from capo_bench.pages.text import Table

if TYPE_CHECKING:
    from capo_bench.pages.page import Page

GAP = "  "


def print_table(table: Table) -> None:
    """Print a table with its title, and an empty line after it."""
    if table.title:
        print_text(table.title, bold=True)
    click.echo("\n".join(lay_out(table.headings, table.rows, measure_terminal())) + "\n")


def print_page(page: Page) -> None:
    """Print a page: what it is about, its sentences, and its tables of numbers."""
    for line in filter(None, (page.title, page.about)):
        print_text(line)
    if page.answer:
        print_text(page.answer, bold=True)
    click.echo()
    for section in page.sections:
        if section.lines:
            print_text(f"{section.title}:")
        for line in section.lines:
            print_text(line, indent=2)
    for table in page.tables:
        print_table(table)


def print_text(text: str, *, indent: int = 0, bold: bool = False) -> None:
    """Print a sentence, broken between words; if it is indented, further lines are indented by two more columns."""
    first, later = " " * indent, " " * (indent + 2 * bool(indent))
    click.echo(click.style("\n".join(_wrap(for_terminal(text), measure_terminal(), first, later)), bold=bold))


def print_json(value: object) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def measure_terminal() -> int:
    """Return the terminal's columns; 80 if the width is unknown."""
    return max(20, shutil.get_terminal_size().columns)


def lay_out(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a table's lines, each at most `width` columns unless a single name or number is wider.

    Headings that are wider than their numbers are broken between words; cells are never broken.
    """
    columns = [[for_terminal(cell) for cell in column] for column in zip(headings, *rows, strict=True)]
    widths = [max(_measure_longest_word(column[0]), *map(measure_cell, column[1:]), 1) for column in columns]
    keys = _count_keys(rows, len(columns))
    named = sum(widths[:keys]) + len(GAP) * (keys - 1)
    whole = named + sum(len(GAP) + wide for wide in widths[keys:])
    if keys < len(columns) and whole > width and named >= width // 2 + 2:
        names = [" · ".join(cells) for cells in zip(*(column[1:] for column in columns[:keys]), strict=True)]
        columns, widths, keys = [[""] * len(columns[0]), *columns[keys:]], [0, *widths[keys:]], 1
    else:
        names = []
    lines: list[str] = []
    for part in _divide_columns(widths, keys, width):
        lines += [""] * bool(lines)
        chosen = [*range(keys), *part]
        lines += _format_part([columns[i] for i in chosen], _widen(columns, widths, chosen, width), keys, names)
    return lines


def _count_keys(rows: Sequence[Sequence[str]], most: int) -> int:
    """Return the number of leading columns that name a row: the fewest that distinguish all rows."""
    return next((n for n in range(1, most) if len({tuple(row[:n]) for row in rows}) == len(rows)), 1)


def measure_cell(text: str) -> int:
    """Return the width of a text in terminal columns."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _wrap(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )


def _measure_longest_word(text: str) -> int:
    return max((measure_cell(word) for word in text.split()), default=0)


def _divide_columns(widths: Sequence[int], keys: int, width: int) -> list[list[int]]:
    """Return the columns after the names, divided into parts that each fit beside the names."""
    named = sum(widths[:keys]) + len(GAP) * (keys - 1)
    parts: list[list[int]] = [[]]
    used = named
    for index in range(keys, len(widths)):
        if parts[-1] and used + len(GAP) + widths[index] > width:
            parts.append([])
            used = named
        parts[-1].append(index)
        used += len(GAP) + widths[index]
    return parts


def _widen(columns: Sequence[list[str]], widths: Sequence[int], chosen: list[int], width: int) -> list[int]:
    """Return the widths of a part's columns; headings of several words get the remaining width."""
    left = width - sum(widths[i] + len(GAP) for i in chosen) + len(GAP)
    given = []
    for index in chosen:
        more = max(0, min(left, measure_cell(columns[index][0]) - widths[index]))
        left -= more
        given.append(widths[index] + more)
    return given


def _format_part(columns: Sequence[list[str]], widths: Sequence[int], keys: int, names: Sequence[str]) -> list[str]:
    heads = [_wrap(column[0], max(width, 1)) or [""] for column, width in zip(columns, widths, strict=True)]
    tall = max(map(len, heads))
    heading = zip(*([""] * (tall - len(head)) + head for head in heads), strict=True)
    body = zip(*(column[1:] for column in columns), strict=True)
    rule = GAP.join("─" * width for width in widths)
    lines = [_format_line(cells, widths, keys) for cells in body]
    if names:  # each name gets a line above its numbers
        lines = [line for name, numbers in zip(names, lines, strict=True) for line in (name, numbers)]
    return [*(_format_line(cells, widths, keys) for cells in heading), rule, *lines]


def _format_line(cells: Sequence[str], widths: Sequence[int], keys: int) -> str:
    """Return one line, with names left-aligned and numbers right-aligned in their columns."""
    spaces = [" " * (width - measure_cell(cell)) for cell, width in zip(cells, widths, strict=True)]
    names = [cell + space for cell, space in zip(cells[:keys], spaces, strict=False)]
    numbers = [space + cell for cell, space in zip(cells[keys:], spaces[keys:], strict=True)]
    return GAP.join([*names, *numbers]).rstrip()
