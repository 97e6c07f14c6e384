"""``capo-bench diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import home_option

if TYPE_CHECKING:
    from capo_bench.report.diff import Change

EPILOG = """\b
Examples:
  capo-bench diff 3fa2 9c41
  capo-bench diff 3fa2b1c09d7e 9c41d0e2ab55 --home results
  capo-bench diff results/trials/3fa2b1c09d7e /elsewhere/trials/3fa2b1c09d7e
"""

LONGEST = 200
"""Characters of a value that are shown."""


@click.command(epilog=EPILOG)
@click.argument("a")
@click.argument("b")
@home_option
def diff(a: str, b: str, home: Path) -> None:
    """Say why trials A and B differ: settings, identity, origin, and what they measured.

    A and B are ids as `plan` and `status` show them, beginnings of ids, or folders of trials.
    """
    from capo_bench.home import Home
    from capo_bench.report.collect import DamagedFileError
    from capo_bench.report.diff import UnknownTrialError, diff_trials, find_trial

    try:
        left, right = find_trial(Home(home), a), find_trial(Home(home), b)
        found = diff_trials(left, right)
    except UnknownTrialError as error:
        raise click.UsageError(str(error)) from error
    except DamagedFileError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"A = {left.path}\nB = {right.path}\n{found.verdict}")
    _show("Settings", found.settings)
    _show("Identity beside the settings", found.identity)
    _show("Origin", found.origin)
    _show("Results", found.results)


def _show(title: str, changes: tuple[Change, ...]) -> None:
    if changes:
        click.echo(f"\n{title}")
    for change in changes:
        click.echo(f"  {change.where}\n    A: {_value(change.left)}\n    B: {_value(change.right)}")


def _value(value: object) -> str:
    text = "(absent)" if value is None else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
