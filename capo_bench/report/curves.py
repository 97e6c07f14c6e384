"""Curves of training: outcome reward by step, and against what the steps had spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from capo_bench.report.axes import AXES
from capo_bench.report.canvas import Figure, Style, draw, draw_panels, legend, legend_size, wrapped
from capo_bench.report.collect import Run
from capo_bench.report.shown import left_out, look_of, most_telling
from capo_bench.report.stats import Matrix
from capo_bench.report.summary import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CURVES = 8
"""More learning curves than this in one figure are not told apart."""

_SHARE = "share of rollouts with a right answer"


@dataclass(frozen=True)
class Curve:
    """A variant's training, cut to its shortest run.

    Attributes:
        outcome: Outcome reward, shape (seeds, steps).
        spent: Axis of `AXES` to what had been spent by then, each of the same shape; only axes that all runs have.
    """

    outcome: Matrix
    spent: Mapping[str, Matrix]

    def digest(self) -> str:
        """Return a hash of all its numbers."""
        content = sha256(repr((self.outcome.shape, list(self.spent))).encode())
        for numbers in (self.outcome, *self.spent.values()):
            content.update(numbers.tobytes())
        return content.hexdigest()


def curve_of(runs: Mapping[int, Run]) -> Curve | None:
    """Return the curve of the runs that recorded outcomes; None where there is none."""
    trained = [run for run in runs.values() if run.curve]
    if not trained:
        return None
    length = min(len(run.curve) for run in trained)

    def rows(of: Sequence[Sequence[float]]) -> Matrix:
        return np.array([row[:length] for row in of], dtype=np.float64)

    common = [name for name in AXES if all(name in run.spent for run in trained)]
    return Curve(
        rows([run.curve for run in trained]), {name: rows([run.spent[name] for run in trained]) for name in common}
    )


def learning_curves(summary: Summary, curves: Mapping[str, Curve]) -> Figure | None:
    """Outcome reward by step: running mean over a tenth of a variant's steps, mean and range over seeds."""
    shown = most_telling(summary, list(curves), MOST_CURVES)
    if not shown:
        return None
    windows = {name: _window(curves[name]) for name in shown}
    smooth = {name: running_mean(curves[name].outcome, window) for name, window in windows.items()}
    look = look_of(summary)

    def paint(ax: Axes) -> None:
        for name, line in smooth.items():
            _line(ax, look[name], name, np.arange(windows[name], windows[name] + line.shape[1]), line)
        ax.set_xlabel("optimizer step")
        sizes = sorted({*windows.values()})
        told = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}"
        ax.set_ylabel(f"{_SHARE}\n(running mean of {told} steps)")
        legend(ax)

    caption = (
        "Outcome reward while training: mean over seeds, band from the lowest seed to the highest; running mean over a "
        "tenth of a variant's steps."
    )
    caption += left_out(len(curves) - len(shown))
    ends = [f"{name} ends at {line[:, -1].mean():.2f}" for name, line in smooth.items()]
    return draw("learning_curves", caption, "; ".join(ends), legend_size(len(shown)), paint)


def spending_curves(summary: Summary, curves: Mapping[str, Curve]) -> Figure | None:
    """Outcome reward against spending, a panel an axis; None where the runs share no axis but steps."""
    shown = most_telling(summary, list(curves), MOST_CURVES)
    axes = [axis for axis in AXES if all(axis in curve.spent for curve in curves.values())]
    if not shown or axes == ["steps"]:
        return None
    look, lines = look_of(summary), {name: {axis: against(curves[name], axis) for axis in axes} for name in shown}
    rows = len(axes) // 2 + 1  # of two panels each; the legend takes the place after the last panel

    def paint(panels: Sequence[Axes]) -> None:
        from matplotlib.ticker import EngFormatter

        for axis, ax in zip(axes, panels, strict=False):
            for name in shown:
                _line(ax, look[name], name, *lines[name][axis])
            ax.set_xlim(left=0)
            ax.set_xlabel(wrapped(AXES[axis], 40))
            ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        for ax in panels[::2][: (len(axes) + 1) // 2]:
            ax.set_ylabel(wrapped(_SHARE, 25))
        for ax in panels[len(axes) :]:
            ax.axis("off")
        panels[len(axes)].legend(*panels[0].get_legend_handles_labels(), loc="center", fontsize=9)

    counts = sorted({len(curves[name].outcome) for name in shown})
    n = f"{counts[0]} to {counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
    caption = (
        "Outcome reward while training against what training had spent by then, a panel for each measure of it: mean "
        f"over seeds (n = {n}) of outcome and of spending at each step, band from the lowest seed to the highest; "
        "running mean over a tenth of a variant's steps. At the same place across, curves had spent the same. Seconds "
        "depend on the machine and on what else it did, and critiques that were kept from before took none."
    )
    ends = [_end(name, lines[name]) for name in shown]
    size = (9.0, 2.7 * rows)
    return draw_panels(
        "spending_curves", caption + left_out(len(curves) - len(shown)), "; ".join(ends), size, (rows, 2), paint
    )


def against(curve: Curve, axis: str) -> tuple[Matrix, Matrix]:
    """Return what had been spent, shape (points,), and the outcome by then, shape (seeds, points).

    The outcome is the running mean over a tenth of the steps; the spending is the mean over seeds at the last of these.
    """
    window = _window(curve)
    return curve.spent[axis][:, window - 1 :].mean(axis=0), running_mean(curve.outcome, window)


def _window(curve: Curve) -> int:
    return max(1, int(curve.outcome.shape[1]) // 10)


def _end(name: str, lines: Mapping[str, tuple[Matrix, Matrix]]) -> str:
    _, outcome = next(iter(lines.values()))
    spent = ", ".join(f"{across[-1]:.3g} {axis.replace('_', ' ')}" for axis, (across, _) in lines.items())
    return f"{name} ends at {outcome[:, -1].mean():.2f} after {spent}"


def _line(ax: Axes, style: Style, name: str, across: Matrix, smooth: Matrix) -> None:
    """Draw the mean over seeds and, of several, their range; `smooth` has shape (seeds, points)."""
    every = max(1, smooth.shape[1] // 6)
    ax.plot(
        across, smooth.mean(axis=0), color=style.color, linestyle=style.line, marker=style.marker,
        markevery=every, label=wrapped(name),
    )  # fmt: skip
    if len(smooth) > 1:
        ax.fill_between(across, smooth.min(axis=0), smooth.max(axis=0), color=style.color, alpha=0.13, lw=0)


def running_mean(curve: Matrix, window: int) -> Matrix:
    """Average each row over `window` neighbouring steps; a row shorter than that becomes its mean."""
    window = min(window, curve.shape[1])
    sums = np.cumsum(np.pad(curve, ((0, 0), (1, 0))), axis=1)
    smooth: Matrix = (sums[:, window:] - sums[:, :-window]) / window
    return smooth
