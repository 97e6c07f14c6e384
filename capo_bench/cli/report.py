"""``capo-bench report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import add_study_options
from capo_bench.cli.printing import print_json, print_page, print_table, print_text
from capo_bench.run.studies import StudyChoice, plan_as_run
from capo_bench.store.home import Home

if TYPE_CHECKING:
    from capo_bench.pages.report import Report

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
@add_study_options
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder; else one under the results.")
@click.option("--full", is_flag=True, help="Print every table and sentence, not only the first screen.")
def report(
    chosen: StudyChoice,
    home: Home,
    out: Path | None,
    full: bool,
    as_json: bool,
) -> None:
    """Turn the results of STUDY into tables, figures, one page and an answer.

    STUDY is the name of a study in the results folder (its last run) or of a shipped one, or a file. The report of an
    unfinished study names what is missing. Writes report.html, report.md, table.csv, figures/ and
    tables/ into the study's folder of results, or into --out, for instance where that cannot be written.
    """
    from capo_bench.pages.report import build_report, write_report

    plan = plan_as_run(chosen, home)
    built = build_report(plan, home)
    files = write_report(built, out or home.study(plan.study).profile(plan.profile).report)
    if as_json:
        print_json(report_json(built, files))
        return
    show(built, full=full)
    for path in files if full else files[:1]:
        click.echo(str(path))


def show(built: Report, *, full: bool = False) -> None:
    """Print the answer and the primary metric's differences on one screen; if `full`, all tables and sentences."""
    answer, first = built.answer, built.page.table
    if full:
        print_page(built.page)
        return
    print_text(answer.headline, bold=True)
    if answer.details:
        print_text(" ".join(answer.details))
    if first is not None:
        print_table(first)
    for caution in answer.cautions[:1]:
        print_text(f"Read with care: {caution}")
    left = {
        "more caution": len(answer.cautions[1:]),
        "more variant": len(built.summary.cells(built.summary.primary)) - (len(first.rows) if first else 0),
        "other comparison": len(answer.comparisons),
    }
    more = [f"{count} {thing}{'s' * (count > 1)}" for thing, count in left.items() if count]
    print_text(f"{', '.join([*more, 'all tables'])}: add --full")


def report_json(built: Report, files: list[Path]) -> dict[str, object]:
    """Return the answer, the tables as shown, and the paths of the files; table.csv has the exact numbers."""
    answer = built.answer
    return {
        "version": 1,
        "study": built.summary.plan.study,
        "profile": built.summary.plan.profile,
        "answer": answer.headline,
        "comparisons": answer.comparisons,
        "cautions": answer.cautions,
        "tables": [
            {"title": table.title, "headings": table.headings, "rows": table.rows} for table in built.page.tables
        ],
        "files": [str(path) for path in files],
    }
