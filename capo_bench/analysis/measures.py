"""What a metric's number means: its unit and which way is better.

A metric is named ``task/quantity``, e.g. ``coins_test/accuracy``. A quantity that is not in the table is shown as a
plain number and never called better or worse.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from evals.metrics import SAMPLED

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Measure:
    """How a quantity reads.

    Attributes:
        better: Which way is better; "neither" for a quantity that only describes.
        share: Whether it is a share of 1, shown in per cent and compared in points.
    """

    better: Better
    share: bool
    label: str


MEASURES = {
    "accuracy": Measure("higher", True, "accuracy"),
    "known_right": Measure("higher", True, "accuracy if all that is left out is wrong"),
    "accuracy_norm": Measure("higher", True, "accuracy, likelihood by length"),
    "wrong_step_rate": Measure("lower", True, "wrong-step rate"),
    "flawed_right": Measure("lower", True, "right answers reached by a wrong step"),
    "no_answer": Measure("lower", True, "responses without an answer"),
    "truncated": Measure("lower", True, "truncated responses"),
    "unscored": Measure("lower", True, "unscored responses"),
    "failed": Measure("lower", True, "responses that never came"),
    "tokens": Measure("lower", False, "tokens per response"),
    "steps": Measure("neither", False, "steps per response"),
}

_AT_K = re.compile(r"(?P<of>avg|pass|maj)_at_(?P<k>[0-9]+)")


def find_task(metric: str) -> str:
    """Return the task of a metric; empty when it names none."""
    return metric.rpartition("/")[0]


def find_quantity(metric: str) -> str:
    """Return what is measured, e.g. ``accuracy`` of ``coins_test/accuracy``."""
    return metric.rpartition("/")[2]


def measure(metric: str) -> Measure:
    """Return how the metric reads."""
    name = find_quantity(metric)
    if (at_k := _AT_K.fullmatch(name)) is not None:
        return Measure("higher", True, f"{at_k['of']}@{at_k['k']}")
    if name.startswith(SAMPLED):
        plain = measure(name.removeprefix(SAMPLED))
        return replace(plain, label=f"{plain.label}, sampled")
    return MEASURES.get(name, Measure("neither", False, name.replace("_", " ")))


def label(metric: str) -> str:
    """Return an axis label with task and unit, e.g. ``accuracy on coins_test (%)``."""
    kind = measure(metric)
    where = f" on {find_task(metric)}" if find_task(metric) else ""
    return f"{kind.label}{where}{' (%)' if kind.share else ''}"


def scale(metric: str) -> float:
    """Return the factor from stored numbers to shown ones: 100 for shares, 1 otherwise."""
    return 100.0 if measure(metric).share else 1.0


def format_number(metric: str, value: float, *, sign: bool = False) -> str:
    """Return the value in the metric's unit without the unit's name; a dash when it is not a number."""
    if not math.isfinite(value):
        return "–"
    digits = 1 if measure(metric).share else 2
    shown = round(value * scale(metric), digits) + 0.0
    return f"{shown:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def name_unit(metric: str, *, difference: bool = False) -> str:
    """Return the unit as it follows a number: `` %`` or `` points``, nothing for plain numbers."""
    if not measure(metric).share:
        return ""
    return " points" if difference else " %"


def is_better(metric: str, difference: float) -> bool | None:
    """Say whether a difference (variant − baseline) is for the better; None where neither way is."""
    better = measure(metric).better
    if better == "neither" or difference == 0 or math.isnan(difference):
        return None
    return (difference > 0) == (better == "higher")
