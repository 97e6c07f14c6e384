"""``capo-bench report``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from capo_bench.report.build import Report

EPILOG = """\b
Exit codes:
  0    written
  2    bad input, or nothing to report

\b
Examples:
  capo-bench report voting
  capo-bench report my-study.yaml --profile full --home results
  capo-bench report voting --only 'vote=majority*' --only vote=greedy
"""


@click.command(epilog=EPILOG)
@study_options
@home_option
def report(study: str, profile: str, sets: tuple[str, ...], only: tuple[str, ...], home: Path) -> None:
    """Turn the results of STUDY into tables, figures, one page and an answer.

    STUDY is a file, or the name of a shipped study; give --profile and --set as they were run. A study that is partly
    finished is reported as far as it goes, and what is missing is named. Writes report.html, report.md, table.csv and
    figures/ into the study's folder of results.
    """
    from capo_bench.cli import Refused
    from capo_bench.home import Home
    from capo_bench.report.build import NothingToReportError, build_report
    from capo_bench.report.collect import DamagedFileError
    from capo_bench.report.write import write_files
    from capo_bench.study.load import load_plan

    plan = load_plan(study, profile, sets, only)
    try:
        built = build_report(plan, Home(home))
    except (NothingToReportError, DamagedFileError) as error:
        raise Refused(error) from error
    paths = write_files(built, Home(home).study(plan.study).report)
    show(built)
    credit = () if paths.credit is None else (paths.credit,)
    for path in (paths.page, *credit, paths.text, paths.table, *paths.figures):
        click.echo(str(path))


def show(built: Report) -> None:
    """Print the tables and the answer."""
    from rich.console import Console

    from capo_bench.report.tables import plain, terminal

    # Where no terminal says how wide it is, tables get the room that they need.
    width = None if sys.stdout.isatty() else 120
    console = Console(highlight=False, markup=False, width=width)
    for table in (*built.tables, *([built.power] if built.power.rows else [])):
        console.print(terminal(table), "")
    console.print(plain(built.answer.headline), style="bold")
    for title, lines in (
        ("", built.answer.comparisons),
        ("Over the start:", built.answer.gains),
        ("Read with care:", (*built.provenance.warnings, *built.answer.cautions)),
    ):
        if title and lines:
            console.print(title)
        for line in lines:
            console.print(f"  {plain(line)}")
    console.print()
