"""The one style of a report's figures: legible in black and white, and the same bytes for the same numbers."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RC: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "0.9",
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "capo-bench",
    "text.parse_math": False,  # a variant's name is text, also with a $ in it
}


@dataclass(frozen=True)
class Figure:
    """A finished figure.

    Attributes:
        name: File name without its ending.
        caption: What it shows and how to read it.
        alt: What it says, for a reader who does not see it.
        svg: The drawing.
        png: The same, at 150 dots per inch.
    """

    name: str
    caption: str
    alt: str
    svg: bytes
    png: bytes


@dataclass(frozen=True)
class Style:
    """How a variant is drawn everywhere: told apart by marker and line style, not by colour alone."""

    color: str
    marker: str
    line: str | tuple[int, tuple[int, ...]]


_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_LINES: tuple[str | tuple[int, tuple[int, ...]], ...] = ("-", (0, (6, 2)), (0, (4, 1, 1, 1)), (0, (2, 1)))


def styles(variants: Sequence[str], baseline: str, start: str | None) -> dict[str, Style]:
    """Give every variant its style: the baseline black, the start grey, the others in turn."""
    found = {baseline: Style("black", "*", "--")}
    if start is not None:
        found[start] = Style("0.5", ".", ":")
    others = [variant for variant in variants if variant not in found]
    for i, variant in enumerate(others):
        found[variant] = Style(_COLORS[i % 6], _MARKERS[i % 11], _LINES[i % 4])
    return found


def wrapped(name: str, width: int = 30) -> str:
    """Break a long name into lines, after commas where there are some, at most three."""
    if len(name) <= width:
        return name
    lines = textwrap.wrap(name.replace(",", ", "), width, break_on_hyphens=False)
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], lines[2][: width - 1] + "…"])


def legend(ax: Axes) -> None:
    """Put the legend to the right of the axes."""
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)


def legend_size(count: int) -> tuple[float, float]:
    """Return the size, in inches, of a figure with so many names in the legend beside it."""
    return 7.6, max(4.0, 0.4 * count)


def draw(name: str, caption: str, alt: str, size: tuple[float, float], paint: Callable[[Axes], None]) -> Figure:
    """Paint one pair of axes and return the figure; `size` is in inches."""
    return draw_panels(name, caption, alt, size, (1, 1), lambda panels: paint(panels[0]))


def draw_panels(  # noqa: PLR0913, PLR0917 - `draw` for several pairs of axes
    name: str,
    caption: str,
    alt: str,
    size: tuple[float, float],
    grid: tuple[int, int],
    paint: Callable[[Sequence[Axes]], None],
) -> Figure:
    """Paint small multiples that share their vertical axis: `grid` has rows and columns, `paint` gets them in a row."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(RC):
        canvas = Canvas(figsize=size, layout="constrained")
        FigureCanvasAgg(canvas)
        paint(canvas.subplots(*grid, sharey=True, squeeze=False).ravel().tolist())
        svg, png = io.BytesIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": "capo-bench"})
        canvas.savefig(png, format="png", dpi=150, metadata={"Software": "capo-bench"})
    return Figure(name, caption, alt, svg.getvalue(), png.getvalue())
