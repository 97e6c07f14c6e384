"""The figures of a report; one that has nothing to show is left out, and none leaves a variant out without its name."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from capo_bench.analysis.answer import format_change, format_level
from capo_bench.analysis.collect import Results
from capo_bench.analysis.curves import AXES, Curve, build_curve
from capo_bench.analysis.measures import find_task, is_better, label, measure, scale
from capo_bench.analysis.stats import MeanEstimate
from capo_bench.analysis.summary import Cell, Summary, VariantRow
from capo_bench.pages import svg
from capo_bench.pages.svg import Axis, Figure, Look, Panel, Point, Series, draw

MOST_CURVES, MOST_POINTS, MOST_ROWS = 8, 11, 60
"""More names than these are not told apart in curves, in scatters, in rows; the caption names the others."""


def draw_figures(summary: Summary, results: Results, votes: Sequence[Mapping[str, Any]] = ()) -> list[Figure]:
    """Draw what the results allow."""
    curves = {name: curve for name, runs in results.runs.items() if (curve := build_curve(runs)) is not None}
    drawn = [
        draw_differences(summary),
        draw_decodings(summary),
        draw_learning_curves(summary, curves),
        draw_wrong_steps(summary),
        cost(summary),
        draw_precision_recall(votes),
    ]
    return [figure for figure in drawn if figure is not None]


def draw_differences(summary: Summary, names: Collection[str] | None = None) -> Figure | None:
    """Draw the paired differences to the baseline with their intervals, of these variants or of all that fit."""
    metric = summary.primary
    every = [row.variant for row, cell in summary.cells(metric) if cell.versus is not None]
    kept = pick_variants(summary, every, MOST_ROWS) if names is None else names
    cells = [(row, cell, cell.versus) for row, cell in summary.cells(metric) if cell.versus and row.variant in kept]
    if not cells:
        return None
    unit = "points of " if scale(metric) == 100 else ""
    axis = Axis(f"difference to {summary.reference} in {unit}{label(metric).removesuffix(' (%)')}", zero=True)
    words = {row.variant: format_change(metric, versus, cell.holm) for row, cell, versus in cells}
    lines = []
    for row, cell, versus in cells:
        ends, hollow = _scale_ends(versus, scale(metric)), not cell.beyond_noise or versus.one_seed
        mark = Point(scale(metric) * versus.mean, note=words[row.variant], across=ends, hollow=hollow)
        lines.append((row.variant, [mark]))
    caption = (
        f"Paired difference to {summary.reference} with 95 % intervals. Filled: beyond noise (Holm-adjusted p < 0.05)."
    )
    return draw("differences", caption + name_left_out(every, kept), _write_alt(words), svg.build_rows(lines, axis))


def draw_decodings(summary: Summary) -> Figure | None:
    """Draw pass@k over k, greedy accuracy as a line from k = 1 on: a panel for each start and its variants."""
    task, ks = find_task(summary.primary), summary.ks("pass_at_")
    rows = [row for row in summary.rows if any(f"{task}/pass_at_{k}" in row.cells for k in ks)]
    if len(ks) < 2 or not rows:
        return None
    groups = {
        start: [row for row in rows if (row.start or "") == start] for start in {row.start or "": 0 for row in rows}
    }
    kept = {
        start: pick_variants(summary, [row.variant for row in group], MOST_POINTS) for start, group in groups.items()
    }
    look = look_of(summary)
    across = Axis(f"k (pass@k, T = {summary.temperature:g})", log=True, ticks=tuple((k, str(k)) for k in ks))
    drawn = [
        Panel(
            [_draw_coverage(summary, row, ks, look[row.variant]) for row in group if row.variant in kept[start]],
            across,
            Axis(f"problems solved (%), over {start}" if start and len(groups) > 1 else "problems solved (%)", 0, 100),
        )
        for start, group in groups.items()
    ]
    caption = (
        f"Right answers to {task} by at least one of k answers sampled at temperature {summary.temperature:g}, with "
        "95 % intervals over seeds × problems. Where the start's curve is above a variant's from some k on, training "
        "has narrowed what the model can solve."
    )
    caption += name_left_out([row.variant for row in rows], [name for names in kept.values() for name in names])
    alt = "; ".join(f"{s.name}: " + ", ".join(p.note for p in s.points) for panel in drawn for s in panel.series)
    return draw("sharpening", caption, alt, svg.draw_panels(drawn))


def _draw_coverage(summary: Summary, row: VariantRow, ks: Sequence[int], look: Look) -> Series:
    task = find_task(summary.primary)
    shares = {k: row.cells[f"{task}/pass_at_{k}"].value for k in ks if f"{task}/pass_at_{k}" in row.cells}
    points = [
        Point(
            k,
            100 * share.mean,
            f"{row.variant}, pass@{k}: {format_level(summary.primary, share)}",
            up=_scale_ends(share, 100),
        )
        for k, share in shares.items()
        if share.has_interval
    ]
    return Series(row.variant, points, look, line=True)


def draw_learning_curves(summary: Summary, curves: Mapping[str, Curve]) -> Figure | None:
    """Draw the outcome by step, and in a panel each against what all runs recorded of spending."""
    kept = pick_variants(summary, list(curves), MOST_CURVES)
    if not kept:
        return None
    spending = [axis for axis in list(AXES)[1:] if all(axis in curve.spent for curve in curves.values())]
    look = look_of(summary)
    drawn = [
        Panel(
            [_build_curve(name, curves[name], axis, look[name]) for name in kept],
            Axis(AXES[axis], zero=True),
            Axis("share of rollouts with a right answer", 0, 1),
        )
        for axis in ["steps", *spending]
    ]
    counts = sorted({len(curves[name].outcome) for name in kept})
    n = f"{counts[0]} to {counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
    caption = (
        f"Outcome reward while training: mean over seeds (n = {n}), band from the lowest seed to the highest; running "
        "mean over a tenth of a variant's steps."
    )
    if spending:
        caption += (
            " By step, and against what training had spent by then: at the same place across, curves had spent the "
            "same. Seconds depend on the machine and on what else it did, and critiques that were kept from before "
            "took none."
        )
    ends = {name: _end(curves[name], spending) for name in kept}
    return draw("learning_curves", caption + name_left_out(curves, kept), _write_alt(ends), svg.draw_panels(drawn))


def _end(curve: Curve, axes: Sequence[str]) -> str:
    spent = [f"{curve.against(axis)[-1]:.3g} {axis.replace('_', ' ')}" for axis in axes]
    return f"ends at {curve.smooth()[:, -1].mean():.2f}" + f" after {', '.join(spent)}" * bool(spent)


def _build_curve(name: str, curve: Curve, axis: str, look: Look) -> Series:
    """Return the mean over seeds as a line with at most eight marks and, of several seeds, their range."""
    lines, across = curve.smooth(), curve.against(axis) if axis in curve.spent else None
    places = range(curve.window, curve.window + lines.shape[1]) if across is None else across.tolist()
    middle = lines.mean(axis=0).tolist()
    points = [
        Point(x, y, f"{name}: {y:.3f} at {x:.6g} {axis.replace('_', ' ')}") for x, y in zip(places, middle, strict=True)
    ]
    ends = zip(places, lines.min(axis=0).tolist(), lines.max(axis=0).tolist(), strict=True) if len(lines) > 1 else ()
    return Series(name, points, look, line=True, band=tuple(ends))


def draw_wrong_steps(summary: Summary) -> Figure | None:
    """Draw the wrong-step rate against accuracy: does a right answer come by right steps?"""
    task = find_task(summary.primary)
    across, up = f"{task}/accuracy", f"{task}/wrong_step_rate"
    cells = {row.variant: cell.value for row, cell in summary.cells(across)}
    points = {
        row.variant: Point(
            scale(across) * cells[row.variant].mean,
            scale(up) * cell.value.mean,
            f"{across} {format_level(across, cells[row.variant])}, {up} {format_level(up, cell.value)}",
            across=_scale_ends(cells[row.variant], scale(across)),
            up=_scale_ends(cell.value, scale(up)),
        )
        for row, cell in summary.cells(up)
        if row.variant in cells
    }
    caption = "Wrong-step rate against accuracy with 95 % intervals; down and to the right is better."
    return _draw_scatter("wrong_steps", caption, summary, points, (_build_axis(across), _build_axis(up)))


def cost(summary: Summary) -> Figure | None:
    """Draw the primary metric against the process time of training."""
    metric, factor = summary.primary, scale(summary.primary)
    points = {
        row.variant: Point(
            row.cost["train_cpu_seconds"],
            factor * cell.value.mean,
            f"{format_level(metric, cell.value)} at {row.cost['train_cpu_seconds']:,.1f} s",
            up=_scale_ends(cell.value, factor),
        )
        for row, cell in summary.cells(metric)
    }
    up = "up" if is_better(metric, 1.0) is not False else "down"
    caption = f"What a result costs, with 95 % intervals; {up} and to the left is better."
    across = Axis("process time of training in seconds (mean over seeds)", zero=True)
    return _draw_scatter("cost", caption, summary, points, (across, _build_axis(metric)))


def _draw_scatter(
    name: str, caption: str, summary: Summary, points: Mapping[str, Point], axes: tuple[Axis, Axis]
) -> Figure | None:
    """Draw a point for each variant, and say which are left out; None without any."""
    kept, look = pick_variants(summary, list(points), MOST_POINTS), look_of(summary)
    if not kept:
        return None
    series = [Series(each, [replace(points[each], note=f"{each}: {points[each].note}")], look[each]) for each in kept]
    words = {each: points[each].note for each in kept}
    return draw(name, caption + name_left_out(points, kept), _write_alt(words), svg.draw_panels([Panel(series, *axes)]))


def draw_precision_recall(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw precision against recall of each critic's votes, a line a rule from few critiques to many."""
    measured = [row for row in rows if None not in [row[f"{name}{end}"] for name in _QUALITY for end in _ENDS]]
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(measured, key=lambda row: row["k"]):
        lines.setdefault(f"{row['critic']}: {row['rule']}", []).append(row)
    several = {row["critic"] for row in measured if row["k"] > 1}
    # One critique under a rule of its own, such as greedy, is where the others begin.
    lines = {name: line for name, line in lines.items() if line[-1]["k"] > 1 or line[0]["critic"] not in several}
    if not lines:
        return None
    kept, look = list(lines)[:MOST_POINTS], svg.choose_looks(list(lines))
    series = [Series(name, [_format_quality(name, row) for row in lines[name]], look[name], line=True) for name in kept]
    percent = Axis("recall: wrong steps that are flagged (%)", 0, 100)
    panel = Panel(series, percent, Axis("precision: flagged steps that are wrong (%)", 0, 100))
    caption = (
        "Precision against recall of the critics' votes, with 95 % intervals; lines go from few critiques to many. Up "
        "and to the right is better."
    )
    alt = "; ".join(point.note for line in series for point in line.points)
    return draw("precision_recall", caption + name_left_out(lines, kept), alt, svg.draw_panels([panel]))


_QUALITY, _ENDS = ("precision", "recall"), ("", "_low", "_high")


def _format_quality(name: str, row: Mapping[str, Any]) -> Point:
    (precision, *up), (recall, *across) = ([100 * row[f"{share}{end}"] for end in _ENDS] for share in _QUALITY)
    words = f"{name} of {row['k']}: precision {precision:.1f} %, recall {recall:.1f} %"
    return Point(recall, precision, words, across=(across[0], across[1]), up=(up[0], up[1]))


def look_of(summary: Summary) -> dict[str, Look]:
    """Return how every variant looks."""
    return svg.choose_looks([row.variant for row in summary.rows], summary.plan.baseline, summary.plan.start)


def pick_variants(summary: Summary, names: list[str], most: int) -> list[str]:
    """Return at most `most` variants, in the plan's order.

    The baseline and the start come first, then the variants whose difference is beyond noise, then the best of the
    others by the primary metric.
    """

    def rank(name: str) -> tuple[bool, bool, float]:
        row = summary.row(name)
        cell: Cell | None = row.cells.get(summary.primary) if row else None
        mean = cell.value.mean if cell else -math.inf
        better = mean if is_better(summary.primary, 1.0) is not False else -mean
        return name in summary.roles, cell is not None and cell.beyond_noise, better

    kept = set(sorted(names, key=rank, reverse=True)[:most])
    return [name for name in names if name in kept]


def name_left_out(every: Iterable[str], drawn: Iterable[str]) -> str:
    """Name the variants that are not drawn."""
    kept = set(drawn)
    names = [name for name in every if name not in kept]
    return f" Not drawn ({len(names)}): {', '.join(names)}." if names else ""


def _scale_ends(value: MeanEstimate, factor: float) -> tuple[float, float]:
    return factor * value.low, factor * value.high


def _build_axis(metric: str) -> Axis:
    """Return the axis of a metric; a share stays in 0 to 100 %, so that one wide interval does not squeeze the rest."""
    return Axis(label(metric), 0, 100) if measure(metric).share else Axis(label(metric))


def _write_alt(words: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in words.items())
