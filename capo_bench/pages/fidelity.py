"""The tables and the figures of how near credit comes to the true advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capo_bench.analysis.fidelity import MEASURES
from capo_bench.pages import svg
from capo_bench.pages.page import Page, Section
from capo_bench.pages.svg import Figure, draw
from capo_bench.pages.text import NOTHING, Table, format_two_digits, format_with_interval

TITLES = {
    "sign": "Sign agreement on steps that matter (%)",
    "rank": "Rank correlation with the true advantages",
    "explained": "Variance of the true advantages that the credit explains (%)",
    "wasted": "Credit on steps that do not matter (%)",
    "cosine": "Cosine of the update's direction to the true one",
}
SHARES = frozenset({"sign", "explained", "wasted"})
POLICIES = {"start": "rollouts of the start", "trained": "rollouts of the trained policies"}

Row = Mapping[str, Any]
"""A row of `analysis.fidelity.fidelity`."""


def build_fidelity_page(summary: Mapping[str, Any], study: str, metric: str) -> Page:
    """Return the page of a fidelity, of what `capo_bench.credit.write.summarise_fidelity` returns."""
    return Page(
        title=f"Credit against true advantages: {study}",
        sections=[
            Section("Numbers", tables=build_fidelity_tables(summary["rows"], summary["bound"])),
            Section("Figures", figures=draw_fidelity_figures(summary["rows"])),
            Section("How to read it", [*describe_learning(summary["learning"], metric), *summary["notes"]]),
        ],
    )


def build_fidelity_tables(rows: Sequence[Row], bound: float) -> list[Table]:
    """Return a table for each policy and critic, the credit that ranks steps best first."""
    headings = ("credit", *MEASURES, "one group's")
    parts: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        parts.setdefault((row["policy"], row["critic"]), []).append(row)
    tables = []
    for (policy, critic), own in parts.items():
        who = f"critic {critic}" if critic else "no critic"
        steps, groups = own[0]["steps"], _format_groups(own[0]["groups"])
        counts = f"{steps} steps of {groups}, {own[0]['matter']} matter (|A| > {bound:g})"
        title = f"Credit against true advantages, {POLICIES[policy]}, {who}: {counts}"
        cells = tuple(
            (_name_credit(row), *(_format_cell(name, row) for name in MEASURES), format_two_digits(row["cosine_group"]))
            for row in own
        )
        tables.append(Table(title, headings, cells))
    return tables


def _format_groups(count: int) -> str:
    return f"{count} groups" if count != 1 else "1 group, of which no interval can be given"


def describe_learning(learning: Mapping[str, Any], metric: str) -> list[str]:
    """Say whether fidelity predicts learning over the variants."""
    (value, low, high), count = learning["correlation"], len(learning["rows"])
    if value is None:
        few = f"{count} variants have both, and 4 are needed"
        return [f"Whether fidelity predicts {metric} cannot be said: {few}."]
    verdict = "predicts" if low > 0 else "predicts the opposite of" if high < 0 else "does not predict"
    noise = " beyond noise" if verdict == "does not predict" else ""
    return [
        f"Over {count} variants, the fidelity of a variant's credit (its rank correlation with the true "
        f"advantages) {verdict} {metric}{noise}: correlation "
        f"{format_with_interval(value, low, high, format_two_digits)}."
    ]


def draw_fidelity_figures(rows: Sequence[Row]) -> list[Figure]:
    """Return a figure for each measure: every way of credit with its interval, on the rollouts of each policy."""
    drawn = {name: [row for row in rows if row[name] is not None] for name in MEASURES}
    return [_draw_figure(name, own) for name, own in drawn.items() if own]


def _draw_figure(name: str, rows: Sequence[Row]) -> Figure:
    looks = svg.choose_looks(list(POLICIES))
    lines: dict[str, list[svg.Point]] = {}
    for row in rows:
        times = 100 if name in SHARES else 1
        value, low, high = (times * row[f"{name}{end}"] for end in ("", "_low", "_high"))
        ends = (min(low, value), max(high, value))
        point = svg.Point(value, note=_describe_value(name, row), across=ends, look=looks[row["policy"]])
        lines.setdefault(_label(row), []).append(point)
    key = {words: looks[policy] for policy, words in POLICIES.items()}
    drawing = svg.build_rows(list(lines.items()), svg.Axis(TITLES[name]), key)
    caption = f"{TITLES[name]}, with 95 % intervals over groups of rollouts."
    return draw(f"credit_{name}", caption, "; ".join(_describe_value(name, row) for row in rows), drawing)


def _describe_value(name: str, row: Row) -> str:
    return f"{_label(row)}, {POLICIES[row['policy']]}: {_format_cell(name, row)}"


def _label(row: Row) -> str:
    return f"{_name_credit(row)} ({row['critic']})" if row["critic"] else _name_credit(row)


def _name_credit(row: Row) -> str:
    return f"{row['method']}, {row['vote']} of {row['k']}" if row["vote"] else str(row["method"])


def _format_cell(name: str, row: Row) -> str:
    ends = (row[name], row[f"{name}_low"], row[f"{name}_high"])
    return format_with_interval(*ends, _format_whole_percent if name in SHARES else format_two_digits)


def _format_whole_percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.0f}"
