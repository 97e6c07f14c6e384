"""Summaries made by hand, so that each sentence and cell can be checked against numbers chosen here."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from capo_bench.analysis.stats import MeanEstimate
from capo_bench.analysis.summary import COSTS, Cell, Summary, VariantRow
from capo_bench.study.plan import Plan

ACCURACY = "coins_test/accuracy"


def around(mean: float, half: float, *, seeds: int = 3, problems: int = 256, p: float = 0.01) -> MeanEstimate:
    """Return an estimate with a given interval."""
    return MeanEstimate(mean, mean - half, mean + half, half / 2, 10.0, p, seeds, problems)


def cell(mean: float, versus: float | None = None, holm: float = math.nan, **options: Any) -> Cell:
    """Return a cell with intervals of ±3 points."""
    change = None if versus is None else around(versus, 0.03, **options)
    return Cell(around(mean, 0.03, **options), change, holm)


def row(variant: str, cells: dict[str, Cell], *, seeds: int = 3, work: float = 60.0, critic: float = 0.0) -> VariantRow:
    """Return a variant's row; the baseline of the costs takes 60 s of process time and 1,000 policy tokens."""
    cost = {**dict.fromkeys(COSTS, 0.0), "train_cpu_seconds": work, "policy_tokens": 1000.0, "critic_tokens": critic}
    relative = {"train_cpu_seconds": work / 60, "policy_tokens": 1.0}
    return VariantRow(variant, tuple(range(seeds)), seeds, cells, cost, relative, math.nan, 0.0, baseline="grpo_rule")


def summary(*rows: VariantRow, metrics: tuple[str, ...] = (ACCURACY,), **changes: Any) -> Summary:
    """Return a study whose baseline is called grpo_rule."""
    own = tuple(replace(one, start=one.start or changes.get("start")) for one in rows)
    values = {"question": "Better?", "file": "s.yaml", "profile": "quick", "baseline": "grpo_rule", "start": None}
    planned = {name: changes.pop(name) for name in (*values, "within", "looks") if name in changes}
    plan = Plan("s", metrics=metrics, variants=(), trials=(), **{**values, **planned})
    return Summary(plan, own, **{"missing": (), **changes})


BASE = row("grpo_rule", {ACCURACY: cell(0.55)})
