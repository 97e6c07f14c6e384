"""The report's files, written so that a reader sees the old report or the new. The same results give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from capo_bench.pages.build import Report
from capo_bench.pages.page import html, text
from capo_bench.pages.report import report_page
from capo_bench.pages.svg import Figure
from capo_bench.pages.tables import comma_separated
from capo_bench.pages.text import Table, latex
from capo_bench.pages.text import comma_separated as as_csv
from evals.files import write_atomic


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files are."""

    page: Path
    text: Path
    table: Path
    figures: tuple[Path, ...]


def write_files(report: Report, folder: Path) -> ReportPaths:
    """Write a built report into a folder; figures and tables of an earlier report that this one lacks go."""
    page = report_page(report)
    drawn = write_figures(report.figures, folder)
    paths = ReportPaths(folder / "report.html", folder / "report.md", folder / "table.csv", drawn)
    write_tables(report.every_table, folder / "tables")
    write_atomic(paths.table, comma_separated(report.summary))
    write_atomic(paths.text, text(page))
    write_atomic(paths.page, html(page))
    return paths


def write_tables(tables: Sequence[Table], folder: Path) -> tuple[Path, ...]:
    """Write each table as it is shown, in CSV and in LaTeX, and return the paths."""
    contents: dict[str, str | bytes] = {}
    for number, table in enumerate(tables, 1):
        stem = f"{number:02d}-{slug(table.title)}"
        contents |= {f"{stem}.csv": as_csv(table.headings, table.rows), f"{stem}.tex": latex(table)}
    return _only(contents, folder)


def write_figures(figures: Sequence[Figure], folder: Path) -> tuple[Path, ...]:
    """Write each figure as SVG into ``figures`` of a folder, and return the paths."""
    return _only({f"{figure.name}.svg": figure.svg for figure in figures}, folder / "figures")


def _only(contents: Mapping[str, str | bytes], folder: Path) -> tuple[Path, ...]:
    """Write files into a folder, and delete others with one of their endings."""
    for path in sorted(folder.glob("*")):
        if path.suffix in {".svg", ".png", ".csv", ".tex"} and path.name not in contents:
            path.unlink()
    for name, content in contents.items():
        write_atomic(folder / name, content)
    return tuple(folder / name for name in contents)


def slug(title: str) -> str:
    """Return a file name for a table: the first words of its title."""
    return re.sub(r"[^a-z0-9]+", "-", title.partition(":")[0].partition("(")[0].lower()).strip("-")[:48]
