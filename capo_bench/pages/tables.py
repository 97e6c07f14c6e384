"""The tables of a study's report."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

from capo_bench.analysis.answer import format_n, format_p
from capo_bench.analysis.collect import Run
from capo_bench.analysis.measures import find_task, format_number, label, measure
from capo_bench.analysis.stats import MeanEstimate
from capo_bench.analysis.summary import COSTS, Cell, Summary, VariantRow
from capo_bench.pages.text import NOTHING, Table, format_csv_of_rows, select_with_rows
from capo_bench.study.identity import SHARED_TITLES

APART = 0.2
"""From this difference between the best and the worst seed of a variant on, a table of shares has medians too."""

POWER_NOTE = (
    "Detectable: smallest true difference that would be beyond noise with 80 % power, whatever the other variants "
    "show. Seeds, or problems, for the observed: how many would detect a true difference as large as the one observed, "
    "which is itself uncertain; no number: more of them alone would not do."
)
"""What the columns of the power table mean."""


CHECKLIST_NOTE = (
    "The items are quoted as public text has them. Answers are from this study's settings and results; granularity and "
    "family are told from what a method asks. Open: nothing here answers it."
)


def build_metric_table(summary: Summary, metric: str) -> Table:
    """Return one metric for every variant: mean, difference to the baseline, change from the start.

    Where seeds differ by `APART` or more, which one bad seed is enough for, medians stand beside the means.
    """
    headings = ["variant", "seeds × problems", "mean ± 95 %", f"difference to {summary.reference}", "Holm p"]
    rows = []
    apart = measure(metric).share and any(_mark_difference(cell) for _, cell in summary.cells(metric))
    for row, cell in summary.cells(metric):
        texts = [
            name_variant(summary, row),
            format_size_cell(cell.value),
            format_interval_cell(metric, cell.value),
            *_format_versus(metric, cell),
        ]
        if summary.plan.start:
            texts.append(format_difference_cell(metric, cell.gain, cell.value))
        rows.append((*texts, *[_format_median(metric, cell)] * apart))
    if summary.plan.start:
        headings.append(f"change from {summary.plan.start if not summary.plan.within else 'its start'}")
    headings += ["median of seeds (lowest to highest)"] * apart
    better = {"higher": ", higher is better", "lower": ", lower is better", "neither": ""}[measure(metric).better]
    return Table(f"{metric}: {label(metric)}{better}", tuple(headings), tuple(rows))


def _mark_difference(cell: Cell) -> bool:
    return len(cell.by_seed) > 1 and cell.by_seed[-1] - cell.by_seed[0] >= APART


def _format_median(metric: str, cell: Cell) -> str:
    if not cell.by_seed:
        return NOTHING
    middle, low, high = (
        format_number(metric, value) for value in (median(cell.by_seed), cell.by_seed[0], cell.by_seed[-1])
    )
    return f"{middle} ({low} to {high})"


def power_table(summary: Summary) -> Table:
    """Return what each comparison on the primary metric could see; without rows where nothing is compared."""
    metric = summary.primary
    headings = ["variant", "seeds × problems", f"difference to {summary.reference}"]
    headings += ["detectable (80 %)", "seeds for the observed", "or problems for it"]
    rows = []
    for row, cell in summary.cells(metric):
        if cell.versus is not None:
            texts = (
                name_variant(summary, row),
                format_size_cell(cell.versus),
                format_difference_cell(metric, cell.versus, cell.versus),
            )
            rows.append((*texts, *_power(metric, cell)))
    return Table(f"Power on {metric}, of the comparisons with {summary.reference}", tuple(headings), tuple(rows))


def cost_table(summary: Summary) -> Table:
    """Return what training costs (mean over seeds) and how long responses are on the primary metric's task."""
    task = find_task(summary.primary)
    headings = ["variant", "seeds", "process seconds (× baseline)", "policy tokens", "critic tokens (a policy token)"]
    headings += ["critiques (abstained)", "training steps", "FLOPs (× baseline)", "steps", "tokens"]
    continued = any(row.cost.get("value_tokens") for row in summary.rows)
    headings += ["continuation tokens (a policy token)"] if continued else []
    rows = []
    for row in summary.rows:
        if row.seeds:
            lengths = [_format_cell(row, f"{task}/steps"), _format_cell(row, f"{task}/tokens")]
            lengths += [_format_tokens(row, "value_tokens")] if continued else []
            rows.append((name_variant(summary, row), f"{len(row.seeds)} of {row.planned}", *_list_costs(row), *lengths))
    title = f"Cost of training (mean over seeds), and steps and tokens of a response ({task})"
    return Table(title, tuple(headings), tuple(rows))


def format_all_csv(summary: Summary) -> str:
    """Return every number of the study, one line a variant and metric, in stored units and full precision."""
    return format_csv_of_rows(
        [
            {
                "variant": row.variant,
                "metric": metric,
                **_split_estimate("", cell.value),
                **_split_estimate("versus_baseline_", cell.versus),
                "p": _drop_nan(cell.versus.p if cell.versus else math.nan),
                "holm_p": _drop_nan(cell.holm),
                "detectable": cell.power and cell.power.detectable,
                "seeds_needed": cell.power and cell.power.seeds,  # infinite where no number would do
                "problems_needed": cell.power and cell.power.problems,
                **_split_estimate("gain_over_start_", cell.gain),
                **{name: _drop_nan(row.cost[name]) for name in COSTS},
            }
            for row in summary.rows
            for metric, cell in row.cells.items()
            if cell.value.has_interval
        ]
    )


def _split_estimate(prefix: str, value: MeanEstimate | None) -> dict[str, float | None]:
    names = ("mean", "low", "high", "seeds", "problems")
    return {f"{prefix}{name}": None if value is None else _drop_nan(getattr(value, name)) for name in names}


def _drop_nan(value: float) -> float | None:
    return value if math.isfinite(value) else None


def name_variant(summary: Summary, row: VariantRow) -> str:
    """Return a variant's name with its role."""
    role = summary.roles.get(row.variant)
    return f"{row.variant} ({role})" if role else row.variant


def format_size_cell(value: MeanEstimate) -> str:
    """Return seeds × problems."""
    return f"{value.seeds} × {value.problems}" if value.problems > 1 else f"{value.seeds}"


def format_interval_cell(metric: str, value: MeanEstimate) -> str:
    """Return mean ± half of the interval."""
    half = (value.high - value.low) / 2
    return f"{format_number(metric, value.mean)} ± {format_number(metric, half)}"


def _format_versus(metric: str, cell: Cell) -> list[str]:
    p = NOTHING if math.isnan(cell.holm) else format_p(cell.holm).removeprefix("p ").removeprefix("= ")
    return [format_difference_cell(metric, cell.versus, cell.value), p]


def format_difference_cell(metric: str, change: MeanEstimate | None, value: MeanEstimate) -> str:
    """Return a difference with its interval, and its n where that is not the value's."""
    if change is None:
        return NOTHING
    mean, low, high = (format_number(metric, x, sign=True) for x in (change.mean, change.low, change.high))
    same = (change.seeds, change.problems) == (value.seeds, value.problems)
    return f"{mean} [{low}, {high}]" + ("" if same else f" (n = {format_n(change)})")


def _power(metric: str, cell: Cell) -> list[str]:
    if cell.power is None:
        return [NOTHING] * 3
    return [
        format_number(metric, cell.power.detectable),
        _format_needed(cell.power.seeds),
        _format_needed(cell.power.problems),
    ]


def _format_needed(count: float) -> str:
    return f"{count:,.0f}" if math.isfinite(count) else "no number"


def _format_cell(row: VariantRow, metric: str) -> str:
    cell = row.cells.get(metric)
    return format_interval_cell(metric, cell.value) if cell and cell.value.has_interval else NOTHING


def _format_times(row: VariantRow, name: str) -> str:
    """Return a cost over the baseline's, as it follows the cost."""
    return f" ({row.relative[name]:.2f})" if name in row.relative else ""


def _format_tokens(row: VariantRow, name: str) -> str:
    """Return a number of tokens, and in brackets how many there are for each policy token."""
    policy, tokens = row.cost["policy_tokens"], row.cost[name]
    each = f" ({tokens / policy:.2f})" if policy and tokens else ""
    return f"{tokens:,.0f}{each}"


def _list_costs(row: VariantRow) -> list[str]:
    count = {name: f"{row.cost[name]:,.0f}" for name in COSTS[1:]}
    worked = f"{row.cost['train_cpu_seconds']:,.1f}{_format_times(row, 'train_cpu_seconds')}"
    return [
        worked,
        count["policy_tokens"],
        _format_tokens(row, "critic_tokens"),
        f"{count['critiques']} ({count['abstained']})",
        count["steps"],
        f"{row.cost['train_flops']:.2e}{_format_times(row, 'train_flops')}" if row.cost["train_flops"] else NOTHING,
    ]


_SPENT = {"train_flops": "cost (FLOPs)", "train_cpu_seconds": "cost (time)"}


def build_first_table(summary: Summary, names: Collection[str]) -> Table:
    """Return the five columns beside the answer: variant, mean, difference, p and cost, of the variants named."""
    metric = summary.primary
    shown = [(row, cell) for row, cell in summary.cells(metric) if row.variant in names]
    # One unit for all: process time where the FLOPs of one are not known.
    spent = "train_flops" if all("train_flops" in row.relative for row, _ in shown) else "train_cpu_seconds"
    rows = []
    for row, cell in shown:
        times = row.relative.get(spent)
        cost = NOTHING if times is None else f"{times:.2f}×"
        rows.append(
            (name_variant(summary, row), format_interval_cell(metric, cell.value), *_format_versus(metric, cell), cost)
        )
    unit = " (%)" if measure(metric).share else ""
    headings = ("variant", f"{measure(metric).label}{unit}", "difference [95 %]", "Holm p", _SPENT[spent])
    return Table(label(metric), headings, tuple(rows))


def build_decoding_tables(summary: Summary) -> list[Table]:
    """Return every variant in every decoding, and the verdicts; none where no answers were sampled."""
    metrics = _name_decodings(summary)
    if len(metrics) < 2:
        return []
    rows = [
        (
            name_variant(summary, row),
            _format_size(row, metrics),
            *(_format_cell(row, metric) for metric in metrics.values()),
        )
        for row in summary.rows
        if any(_format_cell(row, metric) != NOTHING for metric in metrics.values())
    ]
    title = f"{find_task(summary.primary)}, right answers in %, T = {summary.temperature:g}"
    levels = Table(title, ("variant", "seeds × problems", *metrics), tuple(rows))
    return select_with_rows(levels, _build_verdicts(summary))


def _build_verdicts(summary: Summary) -> Table:
    metric, k = f"{find_task(summary.primary)}/accuracy", max(summary.ks("pass_at_"), default=0)
    headings = (
        "variant",
        "seeds × problems",
        f"avg@{k}",
        "greedy",
        f"greedy − start's maj@{k}",
        f"pass@{k}",
        "verdict",
    )
    rows = []
    for row in summary.rows:
        if (judged := summary.sharpening.get(row.variant)) is not None:
            evidence = judged.evidence
            parts = (evidence.average, evidence.greedy, evidence.majority, evidence.coverage.get(k))
            size = next((format_size_cell(part) for part in parts if part is not None), NOTHING)
            cells = (NOTHING if part is None else format_difference_cell(metric, part, part) for part in parts)
            rows.append((name_variant(summary, row), size, *cells, judged.verdict))
    return Table(f"Verdicts: variant minus start, {find_task(metric)}, points [95 %]", headings, tuple(rows))


def _name_decodings(summary: Summary) -> dict[str, str]:
    """Return the name in tables of each decoding to its metric: greedy, avg@k, maj@k, and pass@k for every k."""
    task = find_task(summary.primary)
    of = {"avg": summary.ks("avg_at_")[-1:], "maj": summary.ks("maj_at_")[-1:], "pass": summary.ks("pass_at_")}
    at_k = {f"{name}@{k}": f"{task}/{name}_at_{k}" for name, ks in of.items() for k in ks}
    return {"greedy": f"{task}/accuracy", **at_k}


def _format_size(row: VariantRow, metrics: Mapping[str, str]) -> str:
    cells = (row.cells[metric].value for metric in metrics.values() if metric in row.cells)
    return next((format_size_cell(value) for value in cells if value.has_interval), NOTHING)


def build_checklist_table(items: Sequence[tuple[str, str, str]]) -> Table:
    """Return what the survey asks, and what this study answers."""
    return Table("Reporting checklist of arXiv 2604.09459, Table 11", ("item", "priority", "this study"), tuple(items))


def build_teaching_table(runs: Sequence[Run]) -> Table:
    """Return a row for each model that was taught once and is shared by trials: in no cost of theirs."""
    sharing: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in runs:
        for kind, cost in run.provenance.get("taught", {}).items():
            sharing.setdefault((kind, cost["key"]), []).append(cost)
    several = {kind for kind, _ in sharing if sum(other == kind for other, _ in sharing) > 1}
    rows = [
        (
            f"{SHARED_TITLES[kind]} {key}" if kind in several else SHARED_TITLES[kind],  # type: ignore[index]
            str(len(costs)),
            f"{costs[0]['cpu_seconds']:,.1f}",
            f"{costs[0]['tokens']:,.0f}",
            f"{costs[0]['train_flops']:.2e}",
            f"{costs[0]['train_flops'] / len(costs):.2e}",
        )
        for (kind, key), costs in sharing.items()
    ]
    headings = ("model", "shared by trials", "process seconds", "tokens", "FLOPs", "FLOPs a trial")
    return Table("Taught once, in no cost of a trial", headings, tuple(rows))
