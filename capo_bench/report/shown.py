"""Which variants a figure shows, and how each looks."""

from __future__ import annotations

import math

from capo_bench.report.canvas import Style, styles
from capo_bench.report.measures import is_better
from capo_bench.report.summary import Cell, Summary


def look_of(summary: Summary) -> dict[str, Style]:
    """Return the style of every variant."""
    return styles([row.variant for row in summary.rows], summary.baseline, summary.start)


def most_telling(summary: Summary, names: list[str], most: int) -> list[str]:
    """Return the baseline, the start and the best of the others by the primary metric, in the plan's order."""

    def rank(name: str) -> tuple[bool, float]:
        row = summary.row(name)
        cell: Cell | None = row.cells.get(summary.primary) if row else None
        mean = cell.value.mean if cell else -math.inf
        named = name in summary.roles
        return named, mean if is_better(summary.primary, 1.0) is not False else -mean

    kept = set(sorted(names, key=rank, reverse=True)[:most])
    return [name for name in names if name in kept]


def left_out(count: int) -> str:
    """Say how many variants are not drawn."""
    return f" {count} more variants are not drawn." if count else ""
