"""Convert names and values for MLflow, and read the final metrics from the store of a results folder."""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing

from capo_bench.store.home import Home

CURVES, FINAL = "curves/", "final/"
"""Prefixes that order the charts: MLflow's pages sort them by name, so curves come before final numbers."""

MAX_PARAM = 6000
_WORDS = {"@": "_at_", "%": "_percent", "±": "_plus_minus_", "=": "_"}
_REFUSED = re.compile(r"[^A-Za-z0-9_\-. :/]+")


def make_mlflow_name(name: str) -> str:
    """Return a valid MLflow name of a metric or parameter: ``avg@32`` becomes ``avg_at_32``."""
    for sign, word in _WORDS.items():
        name = name.replace(sign, word)
    name = _REFUSED.sub("_", name).strip("/._ ") or "unnamed"
    return re.sub(r"/{2,}", "/", name)[:250]


def select_mlflow_metrics(values: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers among `values` under valid names; other values cannot be drawn and are left out."""
    return {
        make_mlflow_name(prefix + name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def format_mlflow_param(value: object) -> str:
    """Return a parameter's value as text of a valid length."""
    text = str(value)
    return text if len(text) <= MAX_PARAM else text[: MAX_PARAM - 1] + "…"


_QUERY = """
    SELECT tags.value, latest_metrics.key, latest_metrics.value FROM latest_metrics
    JOIN tags ON tags.run_uuid = latest_metrics.run_uuid AND tags.key = 'capo.trial'
    JOIN runs ON runs.run_uuid = latest_metrics.run_uuid AND runs.lifecycle_stage = 'active'
    WHERE latest_metrics.key LIKE ? AND latest_metrics.key NOT LIKE ? ORDER BY 1, 2
"""


def read_final(home: Home) -> list[tuple[str, str, float]]:
    """Return trial, name and value of each final metric in the store, without costs; empty if there is no store.

    Raises:
        sqlite3.Error: The store cannot be read.
    """
    if not home.tracking.exists():
        return []
    with closing(sqlite3.connect(f"{home.tracking.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(_QUERY, (f"{FINAL}%", f"{FINAL}cost/%")).fetchall()
