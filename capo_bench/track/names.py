"""Our names and values as MLflow takes them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

CURVES, FINAL = "curves/", "final/"
"""MLflow's pages sort charts by name: curves stand before final numbers."""

MAX_PARAM = 6000
_WORDS = {"@": "_at_", "%": "_percent", "±": "_plus_minus_", "=": "_"}
_REFUSED = re.compile(r"[^A-Za-z0-9_\-. :/]+")


def mlflow_name(name: str) -> str:
    """Return a name of a metric or parameter that MLflow accepts: ``avg@32`` becomes ``avg_at_32``."""
    for sign, word in _WORDS.items():
        name = name.replace(sign, word)
    name = _REFUSED.sub("_", name).strip("/._ ") or "unnamed"
    return re.sub(r"/{2,}", "/", name)[:250]


def mlflow_metrics(values: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers among `values` under acceptable names; the rest cannot be drawn and is left out."""
    return {
        mlflow_name(prefix + name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def mlflow_param(value: object) -> str:
    """Return a parameter's value as text of an acceptable length."""
    text = str(value)
    return text if len(text) <= MAX_PARAM else text[: MAX_PARAM - 1] + "…"
