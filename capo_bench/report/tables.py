"""Tables as plain rows of text, and their renderers: terminal, Markdown, CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from capo_bench.report.answer import p_value, size
from capo_bench.report.measures import label, measure, number, task_of
from capo_bench.report.overall import Combined, Overall
from capo_bench.report.stats import Estimate
from capo_bench.report.summary import COSTS, Cell, Row, Summary

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NOTHING = "–"

POWER_NOTE = (
    "P(better): chance that a new training comes out better than one of the baseline, on these problems. Detectable: "
    "smallest true difference that would be beyond noise with 80 % power, whatever the other variants show. Seeds, or "
    "problems, for the observed: how many would detect a true difference as large as the one observed, which is itself "
    "uncertain; no number: more of them alone would not do."
)
"""What the columns of the power table mean."""

OVERALL_NOTE = (
    "Over all tasks: the mean counts each task alike; the interquartile mean (IQM) is that of the middle half of the "
    "accuracies of all seeds on all tasks, so mostly of tasks that are neither the easiest nor the hardest. Intervals "
    "are 95 % percentiles of a bootstrap that draws seeds once for all tasks, and problems within each. With few seeds "
    "they are too narrow (three that differ much: they hold the truth in four studies of five), and with one they "
    "say nothing about seeds: an interval without 0 is no finding. This table decides nothing."
)
"""What the table over all tasks means."""


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row, the others are numbers.

    Attributes:
        title: What it shows.
        headings: One a column.
        rows: Cells, as many a row as there are headings.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(summary: Summary) -> list[Table]:
    """Return the tables of a report: one a metric, the primary one first, then all accuracies together, then costs."""
    found = [*(metric_table(summary, metric) for metric in summary.metrics), overall_table(summary)]
    return [*(table for table in found if table.rows), cost_table(summary)]


def metric_table(summary: Summary, metric: str) -> Table:
    """Return one metric for every variant: mean, difference to the baseline, change from the start."""
    headings = ["variant", "seeds × problems", "mean ± 95 %", f"difference to {summary.reference}", "Holm p"]
    rows = []
    for row, cell in summary.cells(metric):
        texts = [_named(summary, row), _size(cell.value), _interval(metric, cell.value), *_versus(metric, cell)]
        if summary.start:
            texts.append(_difference(metric, cell.gain, cell.value))
        rows.append(tuple(texts))
    if summary.start:
        headings.append(f"change from {summary.start if not summary.within else 'its start'}")
    better = {"higher": ", higher is better", "lower": ", lower is better", "neither": ""}[measure(metric).better]
    return Table(f"{metric}: {label(metric)}{better}", tuple(headings), tuple(rows))


def overall_table(summary: Summary) -> Table:
    """Return the accuracy of every variant over all tasks; without rows where there are fewer than two."""
    tasks = [task_of(metric) for metric in summary.accuracies]
    to = f"difference to {summary.reference}"
    headings = ["variant", "seeds × tasks × problems", "mean over tasks [95 %]", f"means: {to}"]
    headings += ["interquartile mean [95 %]", f"IQMs: {to}"]
    rows = []
    for row in summary.rows:
        if (found := summary.overall.get(row.variant)) is not None:
            means = [_ends(found.value.mean), _change(found, "mean"), _ends(found.value.iqm), _change(found, "iqm")]
            rows.append((_named(summary, row), _over(found.value), *means))
    title = f"Accuracy over {len(tasks)} tasks ({', '.join(tasks)}), %: it describes and decides nothing"
    return Table(title, tuple(headings), tuple(rows))


def power_table(summary: Summary) -> Table:
    """Return what each comparison on the primary metric could see; without rows where nothing is compared."""
    metric = summary.primary
    headings = ["variant", "seeds × problems", f"difference to {summary.reference}", "P(better) [95 %]"]
    headings += ["detectable (80 %)", "seeds for the observed", "or problems for it"]
    rows = []
    for row, cell in summary.cells(metric):
        if cell.versus is not None:
            texts = (_named(summary, row), _size(cell.versus), _difference(metric, cell.versus, cell.versus))
            rows.append((*texts, _chance(cell), *_power(metric, cell)))
    return Table(f"Power on {metric}, of the comparisons with {summary.reference}", tuple(headings), tuple(rows))


def cost_table(summary: Summary) -> Table:
    """Return what a trial costs (mean over seeds) and how long responses are on the primary metric's task."""
    task = task_of(summary.primary)
    headings = ["variant", "seeds", "wall seconds (× baseline)", "policy tokens", "critic tokens (a policy token)"]
    headings += ["critiques (abstained)", "training steps", "FLOPs (× baseline)", "steps", "tokens"]
    rows = []
    for row in summary.rows:
        if row.seeds:
            lengths = [_cell(row, f"{task}/steps"), _cell(row, f"{task}/tokens")]
            rows.append((_named(summary, row), f"{len(row.seeds)} of {row.planned}", *_costs(row), *lengths))
    title = f"Cost of a trial (mean over seeds), and steps and tokens of a response ({task})"
    return Table(title, tuple(headings), tuple(rows))


def terminal(table: Table) -> RichTable:
    """Return the table for a rich console; names are text, never markup."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(plain(table.title))
    shown = RichTable(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(table.headings):
        shown.add_column(Text(plain(heading)), justify="right" if index else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(plain(cell)) for cell in row))
    return shown


def markdown(table: Table) -> str:
    """Return the table in Markdown."""
    lines = [list(table.headings), ["---"] + ["---:"] * (len(table.headings) - 1)]
    lines[0] = [escaped(heading) for heading in lines[0]]
    lines += [[escaped(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def comma_separated(summary: Summary) -> str:
    """Return every number of the study, one line a variant and metric, in stored units and full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = ["mean", "low", "high", "seeds", "problems"]
    writer.writerow(
        ["variant", "metric", *parts]
        + [f"versus_baseline_{part}" for part in parts]
        + ["p", "holm_p", "versus_baseline_bootstrap_low", "versus_baseline_bootstrap_high"]
        + ["improvement", "improvement_low", "improvement_high", "detectable", "seeds_needed", "problems_needed"]
        + [f"gain_over_start_{part}" for part in parts]
        + list(COSTS)
    )
    for row in summary.rows:
        for metric, cell in row.cells.items():
            if cell.value.known:
                p = [_plain(cell.versus.p if cell.versus else math.nan), _plain(cell.holm)]
                numbers = [*_parts(cell.value), *_parts(cell.versus), *p, *_beside(cell), *_parts(cell.gain)]
                writer.writerow([row.variant, metric, *numbers, *(_plain(row.cost[name]) for name in COSTS)])
    return out.getvalue()


def rows_as_csv(table: Table) -> str:
    """Return a table as it is shown, in CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table.headings, *table.rows])
    return out.getvalue()


def escaped(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line."""
    flat = re.sub(r"\s+", " ", text)
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", flat)


def plain(text: str) -> str:
    """Return text without control characters, so that a name cannot steer a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


def _named(summary: Summary, row: Row) -> str:
    role = summary.roles.get(row.variant)
    return f"{row.variant} ({role})" if role else row.variant


def _size(value: Estimate) -> str:
    return f"{value.seeds} × {value.problems}" if value.problems > 1 else f"{value.seeds}"


def _interval(metric: str, value: Estimate) -> str:
    half = (value.high - value.low) / 2
    return f"{number(metric, value.mean)} ± {number(metric, half)}"


def _versus(metric: str, cell: Cell) -> list[str]:
    p = NOTHING if math.isnan(cell.holm) else p_value(cell.holm).removeprefix("p ").removeprefix("= ")
    return [_difference(metric, cell.versus, cell.value), p]


def _difference(metric: str, change: Estimate | None, value: Estimate) -> str:
    if change is None:
        return NOTHING
    mean, low, high = (number(metric, x, sign=True) for x in (change.mean, change.low, change.high))
    same = (change.seeds, change.problems) == (value.seeds, value.problems)
    return f"{mean} [{low}, {high}]" + ("" if same else f" (n = {size(change)})")


def _over(n: Combined) -> str:
    """Return seeds × tasks × problems; the problems of each task where they differ."""
    sizes = [f"{size:,}" for size in n.problems]
    each = sizes[0] if len(set(sizes)) == 1 else f"({', '.join(sizes)})"
    return f"{n.seeds} × {len(sizes)} × {each}"


def _ends(found: tuple[float, float, float], *, sign: bool = False) -> str:
    value, low, high = (number("accuracy", x, sign=sign) for x in found)
    return f"{value} [{low}, {high}]"


def _change(found: Overall, kind: Literal["mean", "iqm"]) -> str:
    if found.versus is None:
        return NOTHING
    same = _over(found.versus) == _over(found.value)
    return _ends(getattr(found.versus, kind), sign=True) + ("" if same else f" (n = {_over(found.versus)})")


def _chance(cell: Cell) -> str:
    if cell.improvement is None:
        return NOTHING
    return f"{cell.improvement.value:.2f} [{cell.improvement.low:.2f}, {cell.improvement.high:.2f}]"


def _power(metric: str, cell: Cell) -> list[str]:
    if cell.power is None:
        return [NOTHING] * 3
    return [number(metric, cell.power.detectable), _needed(cell.power.seeds), _needed(cell.power.problems)]


def _needed(count: float) -> str:
    return f"{count:,.0f}" if math.isfinite(count) else "no number"


def _cell(row: Row, metric: str) -> str:
    cell = row.cells.get(metric)
    return _interval(metric, cell.value) if cell and cell.value.known else NOTHING


def _times(row: Row, name: str) -> str:
    """Return a cost over the baseline's, as it follows the cost."""
    return f" ({row.relative[name]:.2f})" if name in row.relative else ""


def _costs(row: Row) -> list[str]:
    count = {name: f"{row.cost[name]:,.0f}" for name in COSTS[1:]}
    wall = f"{row.cost['wall_seconds']:,.1f}{_times(row, 'wall_seconds')}"
    policy, critic = row.cost["policy_tokens"], row.cost["critic_tokens"]
    each = f" ({critic / policy:.2f})" if policy and critic else ""
    return [
        wall,
        count["policy_tokens"],
        f"{count['critic_tokens']}{each}",
        f"{count['critiques']} ({count['abstained']})",
        count["steps"],
        f"{row.cost['train_flops']:.2e}{_times(row, 'train_flops')}" if row.cost["train_flops"] else NOTHING,
    ]


def _parts(value: Estimate | None) -> list[str]:
    if value is None:
        return [""] * 5
    return [_plain(value.mean), _plain(value.low), _plain(value.high), str(value.seeds), str(value.problems)]


def _beside(cell: Cell) -> list[str]:
    """Return the bootstrap's ends, the probability of improvement, and the power; "inf" where no number would do."""
    ends = [_plain(end) for end in cell.bootstrap] if cell.bootstrap else [""] * 2
    share, power = cell.improvement, cell.power
    chance = [_plain(share.value), _plain(share.low), _plain(share.high)] if share else [""] * 3
    return [*ends, *chance, *([repr(power.detectable), repr(power.seeds), repr(power.problems)] if power else [""] * 3)]


def _plain(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else ""
