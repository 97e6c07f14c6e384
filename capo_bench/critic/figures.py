"""The figures of a measurement: precision against recall by rule and k, and the reliability of the share of votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capo_bench.critic.quality import VoteQuality
from capo_bench.critic.summary import GREEDY, Summary
from capo_bench.critic.tables import per_cent
from capo_bench.report.canvas import Figure, Style, draw, styles
from evals.critics.metrics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (7.6, 4.4)


def figures(summary: Summary) -> list[Figure]:
    """Draw what there is to show."""
    found = [None if summary.scored else precision_recall(summary), reliability(summary)]
    return [figure for figure in found if figure is not None]


def precision_recall(summary: Summary) -> Figure | None:
    """One line a rule, one point a k, with intervals at the largest k."""
    rows = [row for row in summary.votes if row.scores.precision.value is not None and row.scores.recall.value]
    if not rows:
        return None
    most = max(row.k for row in rows)
    looks = styles(list(dict.fromkeys(row.vote.label for row in rows)), "majority", GREEDY.label)

    def paint(ax: Axes) -> None:
        for label in dict.fromkeys(row.vote.label for row in rows):
            mine = [row for row in rows if row.vote.label == label]
            _line(ax, mine, looks[label], most)
        ax.set_xlim(0, 103)
        ax.set_ylim(0, 103)
        ax.set_xlabel("recall: wrong steps that are flagged (%)")
        ax.set_ylabel("precision: flagged steps that are wrong (%)")
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)

    caption = (
        "Precision and recall per step, by rule and number of critiques (written at the points); 95 % intervals at the "
        "largest number and for the greedy critique. Up and to the right is better."
    )
    alt = "; ".join(
        f"{row.vote.label} of {row.k}: precision {per_cent(row.scores.precision)}, recall {per_cent(row.scores.recall)}"
        for row in rows
    )
    return draw("precision_recall", caption, alt, SIZE, paint)


def reliability(summary: Summary) -> Figure | None:
    """Share of wrong steps against share of votes, at the largest k."""
    k, found = max(summary.calibration.items())
    if not found.bins:
        return None
    most = max(part.steps for part in found.bins)
    what = "1 − score of a step" if summary.scored else f"share of the {k} critiques that flag a step"
    told = "1 − score" if summary.scored else f"the share of {k} votes"
    unit = "% doubt" if summary.scored else "% of votes"

    def paint(ax: Axes) -> None:
        ax.plot([0, 100], [0, 100], color="0.5", linestyle=":", label="calibrated")
        across, up = [100 * part.share for part in found.bins], [100 * part.wrong for part in found.bins]
        ax.plot(across, up, color="black", linewidth=1)
        sizes = [30 + 270 * part.steps / most for part in found.bins]
        ax.scatter(across, up, s=sizes, color="0.75", edgecolor="black", zorder=3, label="steps")
        for x, y, part in zip(across, up, found.bins, strict=True):
            ax.annotate(f"{part.steps:,}", (x, y), textcoords="offset points", xytext=(9, -11), fontsize=8)
        ax.set_xlim(-4, 104)
        ax.set_ylim(-4, 104)
        ax.set_xlabel(f"{what} (%)")
        ax.set_ylabel("share of these steps that are wrong (%)")

    caption = (
        f"Reliability of {told}; at the points the number of labelled steps. "
        f"Expected calibration error {found.error:.3f}, Brier score {found.brier:.3f}."
    )
    alt = "; ".join(
        f"{100 * part.share:.0f} {unit}: {100 * part.wrong:.0f} % of {part.steps} steps are wrong"
        for part in found.bins
    )
    return draw("reliability", caption, alt, SIZE, paint)


def _line(ax: Axes, rows: list[VoteQuality], style: Style, most: int) -> None:
    at = [(100 * (row.scores.recall.value or 0), 100 * (row.scores.precision.value or 0)) for row in rows]
    ax.plot(
        *zip(*at, strict=True), color=style.color, linestyle=style.line, marker=style.marker, markersize=8,
        markeredgecolor="black", label=rows[0].vote.label,
    )  # fmt: skip
    for (x, y), row in zip(at, rows, strict=True):
        if not row.vote.alone:
            ax.annotate(str(row.k), (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8)
        if row.k == most or row.vote.alone:
            across, up = _error(row.scores.recall), _error(row.scores.precision)
            ax.errorbar(x, y, xerr=across, yerr=up, fmt="none", color=style.color, elinewidth=1, capsize=3)


def _error(estimate: Estimate) -> list[list[float]] | None:
    """Return the distances to the interval's ends as `errorbar` takes them."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return None
    return [[100 * max(0.0, estimate.value - estimate.low)], [100 * max(0.0, estimate.high - estimate.value)]]
