"""``capo-bench diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from capo_bench.cli.completion import complete_trial
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.inert import for_terminal
from capo_bench.store.home import Home

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
@add_common_options
def diff(a: str, b: str, home: Home, as_json: bool) -> None:
    """Say why trials A and B differ: settings, identity, definitions of code, origin, and results.

    A and B are ids from `plan` or `status`, beginnings of ids, or folders of trials.
    """
    from dataclasses import asdict

    from capo_bench.analysis.diff import diff_trials, find_trial

    left, right = find_trial(home, a), find_trial(home, b)
    difference = diff_trials(left, right)
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
