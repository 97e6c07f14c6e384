"""``capo-bench doctor``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from capo_bench.doctor.finding import Finding

EPILOG = """\b
Examples:
  capo-bench doctor voting
  capo-bench doctor voting --profile paper --home /shared/results
  capo-bench doctor my-study.yaml --json
"""
_SIGNS = {"ok": "ok", "warning": "warning", "missing": "MISSING", "unknown": "unknown"}


@click.command(epilog=EPILOG)
@study_options
@home_option
@click.option("--workers", type=click.IntRange(min=1), help="Trials at a time, as you would run them.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(  # noqa: PLR0913, PLR0917 - the options of the command
    study: str,
    profile: str,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    home: Path,
    workers: int | None,
    as_json: bool,
) -> None:
    """Check this machine against STUDY: GPUs, memory, disk, packages, hub, ports, critic, clock.

    Says what is missing and how to get it. Nothing is downloaded, run or kept. Exit code 1: something is missing.
    """
    import json

    from capo_bench.doctor.examine import examine
    from capo_bench.run.runner import RunOptions
    from capo_bench.study.load import load_plan

    planned = load_plan(study, profile, sets, only)
    found = examine(planned, home, min_free=RunOptions().min_free, workers=workers)
    if as_json:
        click.echo(json.dumps({"version": 1, "findings": [one.as_json() for one in found]}, indent=2))
    else:
        _show(found, f"{planned.study}, profile {planned.profile}")
    sys.exit(any(one.state == "missing" for one in found))


def _show(found: list[Finding], study: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("needed", "", "found", "what to do")
    for one in found:
        style = {"missing": "bold red", "warning": "yellow"}.get(one.state, "")
        table.add_row(Text(one.what), Text(_SIGNS[one.state], style), Text(one.told), Text(one.remedy))
    console = Console(highlight=False, markup=False)
    console.print(table)
    missing = sum(one.state == "missing" for one in found)
    console.print(f"{study}: {f'{missing} missing' if missing else 'this machine can run it'}")
