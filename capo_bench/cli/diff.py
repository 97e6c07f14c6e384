"""``capo-bench diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.completion import complete_trial
from capo_bench.cli.options import add_home_option, add_json_option
from capo_bench.cli.printing import print_json, print_text
from capo_bench.inert import for_terminal

if TYPE_CHECKING:
    from capo_bench.analysis.diff import Change

EPILOG = """\b
Examples:
  capo-bench diff 3fa2 9c41
  capo-bench diff 3fa2b1c09d7e 9c41d0e2ab55 --home results
  capo-bench diff results/trials/3fa2b1c09d7e /elsewhere/trials/3fa2b1c09d7e
"""

LONGEST = 200
"""Most characters of a value that are shown."""


@click.command(epilog=EPILOG)
@click.argument("a", shell_complete=complete_trial)
@click.argument("b", shell_complete=complete_trial)
@add_home_option
@add_json_option
def diff(a: str, b: str, home: Path, as_json: bool) -> None:
    """Say why trials A and B differ: settings, identity, definitions of code, origin, and results.

    A and B are ids from `plan` or `status`, beginnings of ids, or folders of trials.
    """
    from dataclasses import asdict

    from capo_bench.analysis.diff import UnknownTrialError, diff_trials, find_trial
    from capo_bench.store.home import Home
    from capo_bench.store.records import DamagedFileError

    try:
        left, right = find_trial(Home(home), a), find_trial(Home(home), b)
        difference = diff_trials(left, right)
    except UnknownTrialError as error:
        raise click.UsageError(str(error)) from error
    except DamagedFileError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        print_json({"version": 1, "a": str(left.path), "b": str(right.path), **asdict(difference)})
        return
    click.echo(f"A = {left.path}\nB = {right.path}")
    print_text(difference.verdict, bold=True)
    _show("Settings", difference.settings)
    _show("Identity apart from the settings", difference.identity)
    _show("Definitions", difference.definitions)
    _show("Origin", difference.origin)
    _show("Results", difference.results)


def _show(title: str, changes: tuple[Change, ...]) -> None:
    if changes:
        click.echo(f"\n{title}")
    for change in changes:
        click.echo(f"  {change.where}\n    A: {_format_value(change.left)}\n    B: {_format_value(change.right)}")


def _format_value(value: object) -> str:
    text = "(absent)" if value is None else repr(value)
    text = for_terminal(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
