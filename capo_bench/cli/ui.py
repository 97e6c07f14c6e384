"""``capo-bench ui``."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import click

from capo_bench.cli.completion import complete_study
from capo_bench.cli.options import add_common_options
from capo_bench.store.home import Home

EPILOG = """\b
Examples:
  capo-bench ui
  capo-bench ui voting --home elsewhere --port 5001
"""


@click.command(epilog=EPILOG)
@click.argument("study", required=False, shell_complete=complete_study)
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@add_common_options
def ui(study: str | None, home: Home, port: int, as_json: bool) -> None:
    """Open MLflow on the right store, for this machine alone, until Ctrl-C; print the link to STUDY's curves.

    STUDY is by default the last study that ran. The store is that of MLFLOW_TRACKING_URI, or the one in the results
    folder.
    """
    from capo_bench.track.redact import redact
    from capo_bench.track.server import serve
    from capo_bench.track.store import store_of
    from capo_bench.track.view import build_link

    store, link = store_of(home), ""

    def ready(url: str) -> None:
        where = redact(store.uri)
        if as_json:
            click.echo(json.dumps({"store": where, "url": url, "curves": f"{url}/{link}" if link else None}))
            return
        server = f"MLFLOW_TRACKING_URI names a server; open it at {where}"
        click.echo(server if store.remote else f"{where} at {url} (Ctrl-C ends it)")
        if link:
            click.echo(f"curves: {url}/{link}")

    name = study or _find_last_run(home)
    if name and (store.database is None or store.database.exists()):
        with suppress(Exception):  # the store may raise any error; its pages show it
            link = build_link(store, name)
    if store.remote:
        ready(redact(store.uri).rstrip("/"))
        return
    sys.exit(serve(store, port, ready))


def _find_last_run(home: Home) -> str:
    """Return the study whose ledger was written last; empty if no study has run."""
    ledgers = sorted(home.path.glob("studies/*/ledger.jsonl"), key=lambda path: path.stat().st_mtime)
    return ledgers[-1].parent.name if ledgers else ""
