"""Two pictures of votes: the primary metric by rule and number of critiques, and critics' precision against recall."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capo_bench.report.answer import level
from capo_bench.report.canvas import Figure, draw, legend, legend_size, styles
from capo_bench.report.measures import label, number, scale
from capo_bench.report.summary import Cell, Summary
from capo_bench.study.plan import Variant

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 11
"""More lines of critics than this in one figure are not told apart."""


@dataclass(frozen=True)
class CriticPoint:
    """How good the labels of one critic are, by one rule and k.

    Attributes:
        critic: Its name.
        rule: The voting rule.
        k: How many critiques voted.
        precision: Mean and the ends of its 95 % interval, each a share.
        recall: The same.
    """

    critic: str
    rule: str
    k: int
    precision: tuple[float, float, float]
    recall: tuple[float, float, float]


def rule_by_k(summary: Summary, variants: Sequence[Variant]) -> Figure | None:
    """Heat map of the primary metric: voting rules down, numbers of critiques across, of the study's usual critic.

    None where there are not at least two of both.
    """
    metric, cells = summary.primary, _cells(summary, variants)
    rules = list(dict.fromkeys(rule for rule, _ in cells))
    counts = sorted({k for _, k in cells})
    if len({rule for rule, k in cells if k > 1}) < 2 or len(counts) < 2:
        return None

    def paint(ax: Axes) -> None:
        from matplotlib.patches import Rectangle

        grid = [[scale(metric) * _mean(cells.get((rule, k))) for k in counts] for rule in rules]
        shown = [value for row in grid for value in row if not math.isnan(value)]
        middle = (min(shown) + max(shown)) / 2
        ax.imshow(grid, cmap="Greys", aspect="auto")
        for y, rule in enumerate(rules):
            for x, k in enumerate(counts):
                cell = cells.get((rule, k))
                if cell is None:  # the lowest value is white, too
                    ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="///", lw=0, edgecolor="0.6"))
                else:
                    shade = "white" if grid[y][x] > middle else "black"
                    ax.text(x, y, _told(metric, cell), ha="center", va="center", color=shade, fontsize=9)
        ax.set_xticks(range(len(counts)), [str(k) for k in counts])
        ax.set_yticks(range(len(rules)), rules)
        ax.set_xlabel("critiques of each rollout (k)")
        ax.grid(visible=False)

    alt = "; ".join(f"{rule} of {k}: {level(metric, cell.value)}" for (rule, k), cell in cells.items())
    name = label(metric)
    caption = (
        f"{name[0].upper()}{name[1:]} by voting rule and number of critiques; darker is higher. In each cell the mean "
        "and half its 95 % interval; what is hatched is not in the study."
    )
    return draw("rule_by_k", caption, alt, (1.6 + 1.5 * len(counts), 1.2 + 0.7 * len(rules)), paint)


def _cells(summary: Summary, variants: Sequence[Variant]) -> dict[tuple[str, int], Cell]:
    """Return the cells of CAPO's variants whose critic is the most common one, by rule and k."""
    capo = [one for one in variants if one.config.method == "capo"]
    usual = Counter(one.config.critic.model_dump_json() for one in capo).most_common(1)
    known = {row.variant: cell for row, cell in summary.cells(summary.primary)}
    found: dict[tuple[str, int], Cell] = {}
    for one in capo:
        credit = one.config.credit
        plain = usual and one.config.critic.model_dump_json() == usual[0][0] and credit.at_least is None
        if plain and one.name in known:
            found.setdefault((credit.vote, credit.critiques), known[one.name])
    return found


def _mean(cell: Cell | None) -> float:
    return cell.value.mean if cell is not None else math.nan


def _told(metric: str, cell: Cell) -> str:
    return f"{number(metric, cell.value.mean)}\n± {number(metric, (cell.value.high - cell.value.low) / 2)}"


def precision_recall(points: Sequence[CriticPoint]) -> Figure | None:
    """Precision against recall of each critic, a line a rule from few critiques to many."""
    lines = _lines([point for point in points if all(map(math.isfinite, (*point.precision, *point.recall)))])
    shown = dict(list(lines.items())[:MOST_LINES])
    if not shown:
        return None
    look = styles(["", *shown], "", None)

    def paint(ax: Axes) -> None:
        for name, line in shown.items():
            x, y = [100 * p.recall[0] for p in line], [100 * p.precision[0] for p in line]
            ax.plot(x, y, color=look[name].color, marker=look[name].marker, linestyle=look[name].line, label=name)
            for px, py, point in zip(x, y, line, strict=True):
                ax.plot([100 * e for e in point.recall[1:]], [py, py], color=look[name].color, linewidth=0.8)
                ax.plot([px, px], [100 * e for e in point.precision[1:]], color=look[name].color, linewidth=0.8)
                ax.annotate(str(point.k), (px, py), textcoords="offset points", xytext=(5, 5), fontsize=8)
        ax.set_xlabel("recall: wrong steps that are flagged (%)")
        ax.set_ylabel("precision: flagged steps that are wrong (%)")
        ax.set_xlim(0, 104)
        ax.set_ylim(0, 104)
        legend(ax)

    caption = (
        "Precision against recall of the critics' votes on rollouts of training, with 95 % intervals; each point says "
        "how many critiques voted. Up and to the right is better."
    )
    if len(lines) > len(shown):
        caption += f" {len(lines) - len(shown)} more are not drawn."
    alt = "; ".join(
        f"{p.critic}, {p.rule} of {p.k}: precision {100 * p.precision[0]:.1f} %, recall {100 * p.recall[0]:.1f} %"
        for line in shown.values()
        for p in line
    )
    return draw("precision_recall", caption, alt, legend_size(len(shown)), paint)


def _lines(points: Sequence[CriticPoint]) -> dict[str, list[CriticPoint]]:
    """Return the points of each line by its name, few critiques first; of a critic asked once all rules are one."""
    lines: dict[str, list[CriticPoint]] = {}
    asked = {critic: max(p.k for p in points if p.critic == critic) for critic in {p.critic for p in points}}
    for point in sorted(points, key=lambda point: point.k):
        if asked[point.critic] == 1:
            lines[f"{point.critic}: one critique"] = [point]
        else:
            lines.setdefault(f"{point.critic}: {point.rule}", []).append(point)
    # One critique under a rule of its own, such as greedy, is where the others begin.
    return {name: line for name, line in lines.items() if line[-1].k > 1 or asked[line[-1].critic] == 1}
