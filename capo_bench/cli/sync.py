"""``capo-bench sync``."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capo_bench.cli.options import home_option

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EPILOG = """\b
Exit codes:
  0  all is in the store
  1  the store could not be written: run it again later
  2  bad input

\b
Examples:
  capo-bench sync
  capo-bench sync voting --home results
  MLFLOW_TRACKING_URI=https://mlflow.example capo-bench sync
"""


def _show(progress: Progress, bar: TaskID, done: int, of: int) -> None:
    progress.update(bar, completed=done, total=of)


@click.command(epilog=EPILOG)
@click.argument("study", required=False)
@home_option
def sync(study: str | None, home: Path) -> None:
    """Deliver to MLflow what it missed of STUDY, or of all studies in HOME: while it was down, or not asked for.

    The store is that of MLFLOW_TRACKING_URI, or the one in HOME. What is there already is not written again.
    """
    from rich.console import Console
    from rich.progress import Progress

    from capo_bench.home import Home
    from capo_bench.run.errors import RunError
    from capo_bench.run.state import started_studies
    from capo_bench.track.redact import redact
    from capo_bench.track.store import store_of
    from capo_bench.track.sync import sync as deliver

    results = Home(home)
    names = list(started_studies(results))
    if study is not None and study not in names:
        raise click.UsageError(f"no study {study!r} has been run in {home}; there are: {', '.join(names) or 'none'}")
    store, failed = store_of(results), False
    for name in [study] if study else names:
        try:
            with Progress(console=Console(stderr=True), transient=True) as progress:
                bar = progress.add_task(name, total=None)
                found = deliver(results, name, store, partial(_show, progress, bar))
        except RunError as error:
            click.echo(str(error), err=True)
            sys.exit(2)
        except Exception as error:
            failed = True
            lines = str(error).strip().splitlines() or [""]
            told = redact(f"{store.uri}: {type(error).__name__}: {lines[0]}")
            click.echo(f"{name}: not delivered: {told}; run it again when the store is up", err=True)
        else:
            running = "; it is running, and its runner writes the rest" if found.running else ""
            click.echo(f"{name}: {found.delivered} trials delivered, {found.there} were there{running}")
    if not names:
        click.echo(f"no study has been run in {home}")
    sys.exit(int(failed))
