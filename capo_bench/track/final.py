"""The final numbers of trials in the MLflow store of a results folder, read past MLflow: quickly, without a lock."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from capo_bench.store.home import Home
from capo_bench.track.names import FINAL

_QUERY = """
    SELECT tags.value, latest_metrics.key, latest_metrics.value FROM latest_metrics
    JOIN tags ON tags.run_uuid = latest_metrics.run_uuid AND tags.key = 'capo.trial'
    JOIN runs ON runs.run_uuid = latest_metrics.run_uuid AND runs.lifecycle_stage = 'active'
    WHERE latest_metrics.key LIKE ? AND latest_metrics.key NOT LIKE ? ORDER BY 1, 2
"""


def read_final(home: Home) -> list[tuple[str, str, float]]:
    """Return trial, name and value of each final metric in the store; costs are left out, and nothing is without it.

    Raises:
        sqlite3.Error: The store cannot be read.
    """
    if not home.tracking.exists():
        return []
    with closing(sqlite3.connect(f"{home.tracking.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(_QUERY, (f"{FINAL}%", f"{FINAL}cost/%")).fetchall()
