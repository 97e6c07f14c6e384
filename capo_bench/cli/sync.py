"""``capo-bench sync``."""

from __future__ import annotations

import sys

import click

from capo_bench.cli.completion import complete_study
from capo_bench.cli.options import add_common_options
from capo_bench.cli.printing import print_json, print_text
from capo_bench.store.home import Home

EPILOG = """\b
Exit codes:
  0  everything is in the store
  1  the store could not be written: run it again later
  2  bad input, or damaged results: the other studies were sent

\b
Examples:
  capo-bench sync
  capo-bench sync voting --home results
  MLFLOW_TRACKING_URI=https://mlflow.example capo-bench sync
"""


@click.command(epilog=EPILOG)
@click.argument("study", required=False, shell_complete=complete_study)
@add_common_options
def sync(study: str | None, home: Home, as_json: bool) -> None:
    """Send the missing runs of STUDY, or of all studies in HOME, to MLflow: those of --no-tracking or of an outage.

    The store is that of MLFLOW_TRACKING_URI, or the one in HOME. Existing runs are not written again.
    """
    from dataclasses import asdict

    from capo_bench.analysis.answer import build_tracked_answer
    from capo_bench.run.meter import open_meter
    from capo_bench.run.state import list_started_studies
    from capo_bench.store.errors import RunError
    from capo_bench.track.store import describe_failure, store_of
    from capo_bench.track.sync import sync as deliver

    names = list(list_started_studies(home))
    if study is not None and study not in names:
        raise click.UsageError(
            f"no study {study!r} has been run in {home.path}; there are: {', '.join(names) or 'none'}"
        )
    store, code, delivered = store_of(home), 0, []
    for name in [study] if study else names:
        try:
            with open_meter(name) as tell:
                delivery = deliver(home, name, store, tell, build_tracked_answer)
        except RunError as error:  # a damaged file affects only this study
            code = 2
            click.echo(f"{name}: not delivered: {error}", err=True)
        except Exception as error:
            code = code or 1
            reason = describe_failure(store, error)
            click.echo(f"{name}: not delivered: {reason}; run it again when the store can be written", err=True)
        else:
            delivered.append(asdict(delivery))
            if as_json:
                continue
            running = "; it is running, and its runner writes the rest" if delivery.running else ""
            print_text(f"{name}: {delivery.delivered} trials delivered, {delivery.there} were there{running}")
    if as_json:
        print_json({"version": 1, "studies": delivered})
    elif not names:
        click.echo(f"no study has been run in {home.path}")
    sys.exit(code)
