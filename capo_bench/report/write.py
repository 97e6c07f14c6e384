"""The report's files, written so that a reader sees the old report or the new. The same results give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.home import Home
from capo_bench.report.build import Report, build_report
from capo_bench.report.canvas import Figure
from capo_bench.report.latex import latex
from capo_bench.report.page import page
from capo_bench.report.tables import Table, comma_separated, rows_as_csv
from capo_bench.report.text import text
from capo_bench.view.view import report_view
from evals.files import write_atomic

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files are; `credit` is None where no trial has stored critiques."""

    page: Path
    text: Path
    table: Path
    figures: tuple[Path, ...]
    credit: Path | None


def write_report(plan: Plan, home: Home) -> ReportPaths:
    """Build the report of a study and write it into the study's folder.

    Raises:
        NothingToReportError: No trial has finished.
        DamagedFileError: A finished trial's file cannot be read.
    """
    return write_files(build_report(plan, home), home.study(plan.study).report)


def write_files(report: Report, folder: Path) -> ReportPaths:
    """Write a built report into a folder; what an earlier report had and this one lacks goes."""
    drawn = tuple(path for figure in report.figures for path in write_figure(figure, folder / "figures"))
    for path in sorted((folder / "figures").glob("*")):
        if path.suffix in {".svg", ".png"} and path not in drawn:
            path.unlink()
    credit = report_view(report.results, report.digests, folder / "credit.html")
    paths = ReportPaths(folder / "report.html", folder / "report.md", folder / "table.csv", drawn, credit)
    write_tables(
        [*report.tables, *([report.power] if report.power.rows else []), *report.critics.tables], folder / "tables"
    )
    write_atomic(paths.table, comma_separated(report.summary))
    write_atomic(paths.text, text(report))
    write_atomic(paths.page, page(report, credit=credit is not None))
    return paths


def write_tables(tables: Sequence[Table], folder: Path) -> tuple[Path, ...]:
    """Write each table as it is shown, in CSV and in LaTeX; tables of an earlier report that are no longer there go."""
    written: list[Path] = []
    for number, table in enumerate(tables, 1):
        stem = f"{number:02d}-{slug(table.title)}"
        for path, content in ((folder / f"{stem}.csv", rows_as_csv(table)), (folder / f"{stem}.tex", latex(table))):
            write_atomic(path, content)
            written.append(path)
    for path in sorted(folder.glob("*")):
        if path.suffix in {".csv", ".tex"} and path not in written:
            path.unlink()
    return tuple(written)


def slug(title: str) -> str:
    """Return a file name for a table: the first words of its title."""
    return re.sub(r"[^a-z0-9]+", "-", title.partition(":")[0].partition("(")[0].lower()).strip("-")[:48]


def write_figure(figure: Figure, folder: Path) -> tuple[Path, Path]:
    """Write a figure as SVG and PNG, and return their paths."""
    paths = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
    for path, drawing in zip(paths, (figure.svg, figure.png), strict=True):
        write_atomic(path, drawing)
    return paths
