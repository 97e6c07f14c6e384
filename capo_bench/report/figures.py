"""The figures of a report; one that has nothing to show is left out."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capo_bench.report.answer import change, level
from capo_bench.report.canvas import Figure, Style, draw, legend, legend_size, wrapped
from capo_bench.report.collect import Results
from capo_bench.report.curves import Curve, curve_of, learning_curves, spending_curves
from capo_bench.report.digest import digested
from capo_bench.report.grids import CriticPoint, precision_recall, rule_by_k
from capo_bench.report.measures import is_better, label, measure, scale, task_of
from capo_bench.report.shown import left_out, look_of, most_telling
from capo_bench.report.stats import Estimate
from capo_bench.report.summary import Row, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_VARIANTS = 30
"""More variants than this in one figure are not read; the tables have them all."""


def figures(
    summary: Summary, results: Results, points: Sequence[CriticPoint] = (), digest: Path | None = None
) -> list[Figure]:
    """Draw what the results allow.

    Args:
        summary: The numbers.
        results: What they are of.
        points: How good the critics were.
        digest: Where the drawings are kept: of the same numbers they are the same, and drawing takes seconds.
    """
    curves = {name: curve for name, runs in results.runs.items() if (curve := curve_of(runs)) is not None}
    variants = [(one.name, one.config.model_dump(mode="json")) for one in results.plan.variants]
    drawn = [summary, variants, list(points), [(name, curve.digest()) for name, curve in curves.items()]]
    shown = sha256(repr(drawn).encode()).hexdigest()

    def paint() -> list[dict[str, str]]:
        grids = [rule_by_k(summary, results.plan.variants), precision_recall(points)]
        return [_packed(one) for one in [*_draw(summary, curves), *grids] if one is not None]

    found = digested(digest, [], paint, version("matplotlib"), shown)
    return [
        Figure(one["name"], one["caption"], one["alt"], one["svg"].encode(), b64decode(one["png"])) for one in found
    ]


def _packed(figure: Figure) -> dict[str, str]:
    return {**vars(figure), "svg": figure.svg.decode(), "png": b64encode(figure.png).decode("ascii")}


def _draw(summary: Summary, curves: Mapping[str, Curve]) -> list[Figure | None]:
    return [
        values(summary),
        differences(summary),
        learning_curves(summary, curves),
        spending_curves(summary, curves),
        wrong_steps(summary),
        cost(summary),
    ]


def values(summary: Summary) -> Figure | None:
    """Bars of the primary metric with intervals, the start among them."""
    metric = summary.primary
    every = summary.cells(metric)
    cells = _drawn(summary, every)
    if not cells:
        return None

    def paint(ax: Axes) -> None:
        _names(ax, [row for row, _ in cells])
        for y, (row, cell) in enumerate(cells):
            mean, error = _scaled(metric, cell.value)
            hatch = {"baseline": "///", "start": "..."}.get(summary.roles.get(row.variant, ""), "")
            ax.barh(y, mean, 0.62, color="0.85", edgecolor="0.25", hatch=hatch)
            ax.errorbar(mean, y, xerr=error, fmt="none", color="black", capsize=4)
        ax.set_xlabel(label(metric))
        ax.set_xlim(_bounds(metric, ax.get_xlim()))
        ax.grid(visible=False, axis="y")

    name = label(metric)
    caption = f"{name[0].upper()}{name[1:]} with 95 % intervals over seeds × problems. "
    caption += f"Hatched: {'the baselines' if summary.within else f'the baseline {summary.baseline}'}"
    caption += f"; dotted: the start {summary.start}." if summary.start else "."
    caption += left_out(len(every) - len(cells))
    alt = "; ".join(f"{row.variant}: {level(metric, cell.value)}" for row, cell in cells)
    return draw("values", caption, alt, _rows_size(len(cells)), paint)


def differences(summary: Summary) -> Figure | None:
    """Forest plot of the paired differences to the baseline."""
    metric = summary.primary
    every = [(row, cell, cell.versus) for row, cell in summary.cells(metric) if cell.versus is not None]
    cells = _drawn(summary, every)
    if not cells:
        return None

    def paint(ax: Axes) -> None:
        _names(ax, [row for row, _, _ in cells])
        ax.axvline(0, color="black", linewidth=1)
        for y, (_, cell, versus) in enumerate(cells):
            mean, error = _scaled(metric, versus)
            fill = "black" if cell.beyond_noise and not versus.one_seed else "white"
            ax.errorbar(mean, y, xerr=error, fmt="o", color="black", markerfacecolor=fill, capsize=4, markersize=7)
        unit = "points of " if scale(metric) == 100 else ""
        ax.set_xlabel(f"difference to {wrapped(summary.reference)} in {unit}{label(metric).removesuffix(' (%)')}")
        ax.grid(visible=False, axis="y")

    caption = (
        f"Paired difference to {summary.reference} with 95 % intervals. Filled: beyond noise (Holm-adjusted p < 0.05)."
    )
    caption += left_out(len(every) - len(cells))
    alt = "; ".join(f"{row.variant}: {change(metric, versus, cell.holm)}" for row, cell, versus in cells)
    return draw("differences", caption, alt, _rows_size(len(cells)), paint)


def wrong_steps(summary: Summary) -> Figure | None:
    """Wrong-step rate against accuracy: does a right answer come by right steps?"""
    task = task_of(summary.primary)
    return _scatter(
        summary, f"{task}/wrong_step_rate", f"{task}/accuracy", "wrong_steps",
        "Wrong-step rate against accuracy with 95 % intervals; down and to the right is better.",
    )  # fmt: skip


def _scatter(summary: Summary, up: str, across: str, name: str, caption: str) -> Figure | None:
    every = [
        (row, row.cells[across].value, row.cells[up].value)
        for row in summary.rows
        if across in row.cells and up in row.cells and row.cells[across].value.known and row.cells[up].value.known
    ]
    rows = _drawn(summary, every)
    if not rows:
        return None
    look = look_of(summary)

    def paint(ax: Axes) -> None:
        for row, right, wrong in rows:
            (x, dx), (y, dy) = _scaled(across, right), _scaled(up, wrong)
            _point(ax, look[row.variant], row.variant, (x, y), (dx, dy))
        ax.set_xlabel(label(across))
        ax.set_xlim(_bounds(across, ax.get_xlim()))
        ax.set_ylim(_bounds(up, ax.get_ylim()))
        ax.set_ylabel(label(up))
        legend(ax)

    alt = "; ".join(f"{row.variant}: {across} {level(across, a)}, {up} {level(up, b)}" for row, a, b in rows)
    return draw(name, caption + left_out(len(every) - len(rows)), alt, legend_size(len(rows)), paint)


def cost(summary: Summary) -> Figure | None:
    """Primary metric against the wall time of a trial."""
    metric = summary.primary
    every = summary.cells(metric)
    cells = _drawn(summary, every)
    if not cells:
        return None
    look, up = look_of(summary), is_better(metric, 1.0) is not False

    def paint(ax: Axes) -> None:
        for row, cell in cells:
            mean, error = _scaled(metric, cell.value)
            _point(ax, look[row.variant], row.variant, (row.cost["wall_seconds"], mean), (0.0, error))
        best = frontier([(row.cost["wall_seconds"], scale(metric) * cell.value.mean) for row, cell in cells], up=up)
        ax.plot(*zip(*best, strict=True), color="0.6", linestyle=":", linewidth=1, zorder=0)
        ax.set_xlabel("wall time of a trial in seconds (mean over seeds)")
        ax.set_ylabel(label(metric))
        ax.set_xlim(left=0)
        ax.set_ylim(_bounds(metric, ax.get_ylim()))
        legend(ax)

    caption = f"What a result costs, with 95 % intervals; {'up' if up else 'down'} and to the left is better. "
    caption += "Dotted: the frontier, variants of which no other has a better mean for less."
    caption += left_out(len(every) - len(cells))
    alt = "; ".join(f"{r.variant}: {level(metric, c.value)} at {r.cost['wall_seconds']:,.1f} s" for r, c in cells)
    return draw("cost", caption, alt, legend_size(len(cells)), paint)


def frontier(points: Sequence[tuple[float, float]], *, up: bool) -> list[tuple[float, float]]:
    """Return the points of which no other costs less, or the same, and is better: by cost.

    Args:
        points: Cost and value.
        up: Whether a higher value is better.
    """
    best: list[tuple[float, float]] = []
    for spent, value in sorted(points, key=lambda point: (point[0], -point[1] if up else point[1])):
        if not best or (value > best[-1][1] if up else value < best[-1][1]):
            best.append((spent, value))
    return best


def _point(ax: Axes, style: Style, name: str, at: tuple[float, float], error: tuple[float, float]) -> None:
    ax.errorbar(
        *at, xerr=error[0] or None, yerr=error[1], fmt=style.marker, color=style.color, elinewidth=1,
        markersize=11 if style.marker == "*" else 8, markeredgecolor="black", capsize=3, label=wrapped(name), ls="none",
    )  # fmt: skip


def _names(ax: Axes, rows: list[Row]) -> None:
    ax.set_yticks(range(len(rows)), [wrapped(row.variant) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)


def _rows_size(count: int) -> tuple[float, float]:
    return 7.6, 1.1 + 0.45 * max(count, 2)


def _scaled(metric: str, value: Estimate) -> tuple[float, float]:
    return scale(metric) * value.mean, scale(metric) * (value.high - value.low) / 2


def _bounds(metric: str, limits: tuple[float, float]) -> tuple[float, float]:
    """Return limits of an axis; a share stays in 0 to 100 %, so that one wide interval does not squeeze the rest."""
    low, high = limits
    return (max(low, -2.0), min(high, 102.0)) if measure(metric).share else limits


T = TypeVar("T", bound=tuple[Any, ...])


def _drawn(summary: Summary, rows: list[T]) -> list[T]:
    """Return those of the rows, each led by its `Row`, that are drawn."""
    kept = set(most_telling(summary, [row[0].variant for row in rows], MOST_VARIANTS))
    return [row for row in rows if row[0].variant in kept]
