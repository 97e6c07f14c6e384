"""The answer to a study's question as tracking keeps it: in words, and its means and differences by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capo_bench.analysis.answer import answer
from capo_bench.analysis.collect import collect
from capo_bench.analysis.summary import summarise

if TYPE_CHECKING:
    from capo_bench.store.home import Home
    from capo_bench.study.plan import Plan


def answered(plan: Plan, home: Home) -> tuple[str, dict[str, float]]:
    """Return the answer, and each variant's mean and difference to its baseline on every metric; empty without any."""
    summary = summarise(collect(plan, home, digests=home.digests))
    if not summary.finished:
        return "", {}
    values: dict[str, float] = {}
    for row in summary.rows:
        for metric in summary.metrics:
            cell = row.cells.get(metric)
            if cell is None or not cell.value.has_interval:
                continue
            values[f"means/{metric}/{row.variant}"] = cell.value.mean
            if cell.versus is not None:
                at = f"differences/{metric}/{row.variant}"
                values |= {at: cell.versus.mean, f"{at} low": cell.versus.low, f"{at} high": cell.versus.high}
    return answer(summary).headline, values
