"""The numbers of a fidelity and its files: every step, every row, a page. Equal results give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from capo_bench.analysis.fidelity import ValuedStep, build_steps_frame, compare_with_learning, measure_fidelity
from capo_bench.credit.measure import FEW
from capo_bench.pages.page import Page, write_page
from capo_bench.pages.text import format_csv_of_rows
from capo_bench.store.home import Home, read_json, write_json
from evals.files import write_atomic

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


def summarise_fidelity(
    measured: Sequence[ValuedStep], plan: Plan, home: Home, bound: float, left_out: Sequence[str]
) -> dict[str, Any]:
    """Return all numbers, as ``credit.json`` has them; a step matters from |A| > `bound` on."""
    error = max(part.error for part in measured)
    notes = [
        f"Largest standard error of a true advantage: {error:.3f}, of {measured[0].samples} continuations a state.",
        "Rollouts of the last step were sampled one update before the trained policy, which goes on here.",
        f"vineppo and spo are measured with {FEW} continuations a state that the true advantages do not share.",
        *(f"Left out: {line}." for line in left_out),
    ]
    reached = _average_reached(measured, plan, home)
    rows = measure_fidelity(measured, bound)
    return {
        "version": 1,
        "bound": bound,
        "rows": rows,
        "learning": compare_with_learning(measured, reached),
        "notes": notes,
    }


def _average_reached(measured: Sequence[ValuedStep], plan: Plan, home: Home) -> dict[str, float]:
    """Return the mean of the primary metric of each measured variant, over its finished trials."""
    metric = plan.metrics[0] if plan.metrics else ""
    values = dict[str, list[float]]()
    for trial in plan.trials:
        folder = home.trial(trial.id)
        value = read_json(folder.metrics)["metrics"].get(metric) if folder.done else None
        if value is not None:
            values.setdefault(trial.variant, []).append(value)
    return {name: fmean(values[name]) for name in {part.trial.variant for part in measured} & values.keys()}


def write_fidelity(
    summary: Mapping[str, Any], measured: Sequence[ValuedStep], page: Page, folder: Path
) -> tuple[Path, ...]:
    """Write ``credit.csv``, ``credit.json``, ``steps.csv.gz`` and the page into a folder; return all but tables."""
    table, whole, steps = folder / "credit.csv", folder / "credit.json", folder / "steps.csv.gz"
    write_atomic(table, format_csv_of_rows(summary["rows"]))
    write_json(whole, summary)
    build_steps_frame(measured).to_csv(steps, index=False, compression={"method": "gzip", "mtime": 0})
    return table, whole, steps, *write_page(page, folder, "credit")
