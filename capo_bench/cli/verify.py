"""``capo-bench verify``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.bar import bar
from capo_bench.cli.options import home_option, study_options

if TYPE_CHECKING:
    from capo_bench.verify.study import Verified

EPILOG = """\b
Exit codes:
  0    all that was compared is equal
  1    something differs, or there was nothing to compare
  2    bad input, or no bundle

\b
Examples:
  capo-bench verify voting.tar.gz
  capo-bench verify voting.tar.gz --json > checks.json
  capo-bench verify voting --home results
"""

MOST_SHOWN = 20


@click.command(epilog=EPILOG)
@study_options
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def verify(  # noqa: PLR0913, PLR0917 - one argument an option
    study: str, profile: str, sets: tuple[str, ...], only: tuple[str, ...], home: Path, as_json: bool
) -> None:
    """Derive every number of a study's report again, and say what does not match.

    STUDY is a bundle (*.tar.gz), or a study in the results folder: a file, or the name of a shipped one, with
    --profile, --set and --only as they were run. Completions are scored again, rollouts verified and checked again,
    credit replayed from critiques, metrics, costs and the report made again. What cannot be derived here is told, with
    the reason.
    """
    from capo_bench.bundle.errors import BundleError
    from capo_bench.cli import Refused
    from capo_bench.home import Home
    from capo_bench.study.load import load_plan
    from capo_bench.verify.checks import new_checks
    from capo_bench.verify.study import opened
    from capo_bench.verify.study import verify as verified

    try:
        with bar("verifying", "trials") as tell:
            if study.endswith(".tar.gz"):
                with opened(Path(study)) as (plan, content, manifest, checks):
                    found = verified(plan, content, checks, manifest.origin, tell)
            else:
                found = verified(load_plan(study, profile, sets, only), Home(home), new_checks(), tell=tell)
    except (BundleError, OSError) as error:
        raise Refused(error) from error
    if as_json:
        click.echo(json.dumps(_plain(found), indent=2, ensure_ascii=False))
    else:
        _show(found)
    sys.exit(0 if found.passed else 1)


def _plain(found: Verified) -> dict[str, object]:
    from dataclasses import asdict

    return {
        "version": 1,
        "study": found.study,
        "trials": found.trials,
        "owed": found.owed,
        "passed": found.passed,
        "compared": found.compared,
        "mismatches": found.mismatches,
        "checks": {
            name: {
                "compared": check.compared,
                "mismatches": [asdict(one) for one in check.mismatches],
                "unchecked": dict(check.unchecked),
            }
            for name, check in found.checks.items()
        },
    }


def _show(found: Verified) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from capo_bench.verify.checks import TITLES

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)
    table = Table("check", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("compared", "differ", "not checked"):
        table.add_column(heading, justify="right")
    for name, check in found.checks.items():
        numbers = check.compared, len(check.mismatches), sum(check.unchecked.values())
        table.add_row(Text(TITLES[name]), *(f"{number:,}" for number in numbers))
    console.print(table)
    for name, check in found.checks.items():
        for reason, count in check.unchecked.items():
            click.echo(f"not checked, {TITLES[name]}: {count:,}, because: {reason}")
    for name, check in found.checks.items():
        for one in check.mismatches[:MOST_SHOWN]:
            click.echo(f"DIFFERS, {name}: {one.where}: {one.said} there, {one.found} derived")
        if (more := len(check.mismatches) - MOST_SHOWN) > 0:
            click.echo(f"DIFFERS, {name}: … and {more:,} more; --json has them all")
    click.echo(_verdict(found))


def _verdict(found: Verified) -> str:
    trials = f"{found.trials} trials of {found.study}" + (f", {found.owed} more have not finished" * bool(found.owed))
    if not found.trials or not found.compared:
        return f"NOTHING VERIFIED: {trials}"
    if found.mismatches:
        return f"DIFFERS: {found.mismatches:,} of {found.compared:,} values; {trials}"
    return f"all {found.compared:,} values match; {trials}"
