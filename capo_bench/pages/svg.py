"""Charts as plain SVG: rows of intervals, lines with bands, points with error bars.

Each chart is a function of its width alone, so that a page has one for a desk and one for a phone, both in letters of a
readable size. Text takes the colour of the page around it (`currentColor`), so a chart is legible in light and dark.
Every mark carries its values as a `<title>`, which a browser shows by itself and our script shows at once.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from capo_bench.inert import for_page

WIDE, NARROW = 680, 350
"""Widths of a chart in pixels, for a desk and for a phone."""

MOST_MARKS = 40
"""Marks on one line; of longer lines every n-th point has one."""

LETTER = 6.6
"""Width of a letter of 12 pixels, about."""

Drawing = Callable[[int], str]
"""From a width in pixels to an SVG element."""


@dataclass(frozen=True)
class Look:
    """How a series is told apart: by colour, by shape and by line."""

    color: str = "currentColor"
    shape: str = "circle"
    dash: str = ""


@dataclass(frozen=True)
class Point:
    """A value with its intervals along x (`across`) and y (`up`), in words too; without a look it has the series'."""

    x: float
    y: float = 0.0
    note: str = ""
    across: tuple[float, float] | None = None
    up: tuple[float, float] | None = None
    hollow: bool = False
    look: Look | None = None


@dataclass(frozen=True)
class Series:
    """Points of one name, joined by a line if asked, with a band of (x, low, high)."""

    name: str
    points: Sequence[Point]
    look: Look = Look()
    line: bool = False
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Axis:
    """An axis: its label, limits that it keeps within, and its ticks where they are not round numbers."""

    label: str
    low: float = -math.inf
    high: float = math.inf
    zero: bool = False
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    series: Sequence[Series]
    across: Axis
    up: Axis


@dataclass(frozen=True)
class Figure:
    """A figure: `alt` is what it says in words, `wide` and `narrow` are its SVG for a desk and for a phone."""

    name: str
    caption: str
    alt: str
    wide: str
    narrow: str

    @property
    def svg(self) -> bytes:
        """The drawing as a file of its own: dark ink on white paper."""
        alone = 'style="background:#fff;color:#1a1a1a" '
        return self.wide.replace("<svg ", f"<svg {alone}", 1).encode()

    def _repr_svg_(self) -> str:
        return self.wide


def draw(name: str, caption: str, alt: str, drawing: Drawing) -> Figure:
    """Return a figure in both widths."""
    return Figure(name, caption, alt, drawing(WIDE), drawing(NARROW))


_COLORS = ("#3489cf", "#d9661f", "#1f9b78", "#bf6fa0", "#8a7ad0", "#b08a1e", "#4aa5b5", "#cf5a5a", "#7f8c4f", "#a0715a")
"""Legible on white and on black."""

_SHAPES, _DASHES = ("circle", "square", "triangle", "diamond", "cross"), ("", "7 3", "2 3", "7 3 2 3")


def choose_looks(names: Sequence[str], baseline: str = "", start: str | None = None) -> dict[str, Look]:
    """Give every name its look: the baseline the page's own ink, the start grey and dotted, the others in turn."""
    fixed = {
        baseline: Look("currentColor", "square", "6 3"),
        **({start: Look("#8c8c8c", "circle", "2 3")} if start else {}),
    }
    others = [name for name in names if name not in fixed]
    turns = {name: Look(_COLORS[i % 10], _SHAPES[i % 5], _DASHES[i % 4]) for i, name in enumerate(others)}
    return {name: fixed.get(name) or turns[name] for name in names}


def build_rows(
    named: Sequence[tuple[str, Sequence[Point]]], axis: Axis, key: Mapping[str, Look] | None = None
) -> Drawing:
    """Return a chart with a line a name and its points with their intervals along x; `key` names the points' looks."""

    def draw(width: int) -> str:
        narrow = width < WIDE
        left = 8.0 if narrow else 0.36 * width
        labels = [_wrap_text(name, width - 16 if narrow else left - 16) for name, _ in named]
        x = _Scale.of(
            axis, [end for _, points in named for p in points for end in (p.x, *(p.across or ()))], left, width - 12
        )
        parts, top = [], 6.0
        for lines, (_, points) in zip(labels, named, strict=True):
            height = 16.0 * len(lines) + 22 if narrow else max(28.0, 15.0 * len(lines) + 8)
            middle = top + height - 13 if narrow else top + height / 2
            first = top + 13 if narrow else middle - 7.5 * (len(lines) - 1) + 4
            parts += [
                _write_text(8 if narrow else left - 10, first + 15 * i, line, "start" if narrow else "end")
                for i, line in enumerate(lines)
            ]
            away = [7 * (place - (len(points) - 1) / 2) for place in range(len(points))]
            parts += [_mark(p, (x.at(p.x), middle + dy), Look(), x) for p, dy in zip(points, away, strict=True)]
            top += height
        frame = _draw_grid_across(x, 4, top, axis)
        bottom = top + 24 + 15 * len(_label_lines(x, axis))
        legend, below = _draw_legend(dict(key or {}), width, bottom)
        return _write_svg(width, below if legend else bottom, [*frame, *parts, *legend])

    return draw


def draw_panels(several: Sequence[Panel]) -> Drawing:
    """Return charts beside each other, on a phone below each other, with one legend of all names."""

    def draw(width: int) -> str:
        columns = 1 if width < WIDE or len(several) == 1 else 2
        each, height = width / columns, 230.0
        parts: list[str] = []
        bottom = 0.0
        for place, panel in enumerate(several):
            left, top = each * (place % columns), (height + 50) * (place // columns)
            parts += _draw_panel(panel, left, top, each, height)
            bottom = top + height + 50
        named = {series.name: series.look for panel in several for series in panel.series}
        legend, bottom = _draw_legend(named, width, bottom)
        return _write_svg(width, bottom, [*parts, *legend])

    return draw


def _add_title(note: str, drawing: str) -> str:
    return f'<g tabindex="0" class="mark"><title>{_escape_text(note)}</title>{drawing}</g>'


@dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    @classmethod
    def of(cls, axis: Axis, values: Sequence[float], start: float, end: float) -> _Scale:
        finite = [value for value in values if math.isfinite(value)] + ([0.0] if axis.zero else [])
        low, high = max(axis.low, min(finite, default=0.0)), min(axis.high, max(finite, default=1.0))
        if axis.ticks:
            return cls(axis.ticks[0][0], axis.ticks[-1][0], start, end, axis.ticks, axis.log)
        step = _choose_step((high - low) or abs(high) or 1.0, max(2, int(abs(end - start) / 70)))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if first >= last:  # all values are equal: the axis goes one step up, or down where it ends there
            first, last = (first - 1, first) if step * (first + 1) > axis.high else (first, first + 1)
        ticks = tuple((step * n, _format_number(step * n)) for n in range(first, last + 1))
        return cls(ticks[0][0], ticks[-1][0], start, end, ticks)

    def at(self, value: float) -> float:
        low, high, value = (math.log2(v) if self.log else v for v in (self.low, self.high, value))
        share = min(max((value - low) / ((high - low) or 1.0), -0.02), 1.02)
        return self.start + share * (self.end - self.start)


def _choose_step(span: float, most: int) -> float:
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if span / (power * factor) <= most)


def _format_number(value: float) -> str:
    size = next(
        ((scale, unit) for scale, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")) if abs(value) >= scale),
        (1.0, ""),
    )
    scale = 1e3 if size[1] == "k" else size[0]
    return f"{value / scale + 0.0:.6g}{size[1]}".replace("-", "−")


def _draw_grid_across(x: _Scale, top: float, bottom: float, axis: Axis, right: float | None = None) -> list[str]:
    parts = []
    for value, text in x.ticks:
        strong = ' stroke-opacity="0.9"' if axis.zero and value == 0 else ' stroke-opacity="0.15"'
        parts.append(f'<path d="M{_trim(x.at(value))} {_trim(top)}V{_trim(bottom)}" stroke="currentColor"{strong}/>')
        parts.append(_write_text(x.at(value), bottom + 15, text, "middle", faint=True))
    middle, lines = (x.start + x.end) / 2, _label_lines(x, axis, right)
    return parts + [_write_text(middle, bottom + 32 + 15 * i, line, "middle") for i, line in enumerate(lines)]


def _label_lines(x: _Scale, axis: Axis, right: float | None = None) -> list[str]:
    """Return the label of a scale, broken so that it fits between the left edge and `right` around its middle."""
    middle = (x.start + x.end) / 2
    return _wrap_text(axis.label, 2 * min(middle, (right or x.end + 12) - middle))


def _draw_panel(panel: Panel, left: float, top: float, width: float, height: float) -> Iterator[str]:
    points = [p for series in panel.series for p in series.points]
    bands = [end for series in panel.series for _, low, high in series.band for end in (low, high)]
    x = _Scale.of(panel.across, [e for p in points for e in (p.x, *(p.across or ()))], left + 46, left + width - 14)
    y = _Scale.of(panel.up, [e for p in points for e in (p.y, *(p.up or ()))] + bands, top + height - 16, top + 26)
    yield _write_text(left + 8, top + 14, panel.up.label, "start")
    yield from _draw_grid_across(x, y.end, y.start, panel.across, left + width)
    for value, text in y.ticks:
        line = f"M{_trim(x.start)} {_trim(y.at(value))}H{_trim(x.end)}"
        yield f'<path d="{line}" stroke="currentColor" stroke-opacity="0.15"/>'
        yield _write_text(x.start - 6, y.at(value) + 4, text, "end", faint=True)
    for series in panel.series:
        yield from _draw_series(series, x, y)


def _draw_series(series: Series, x: _Scale, y: _Scale) -> Iterator[str]:
    color = series.look.color
    if series.band:
        ends = [(at, low) for at, low, _ in series.band] + [(at, high) for at, _, high in reversed(series.band)]
        path = "L".join(f"{_trim(x.at(a))} {_trim(y.at(b))}" for a, b in ends)
        yield f'<path d="M{path}Z" fill="{color}" fill-opacity="0.12"/>'
    if series.line and len(series.points) > 1:
        path = "L".join(f"{_trim(x.at(p.x))} {_trim(y.at(p.y))}" for p in series.points)
        yield f'<path d="M{path}" fill="none" {_write_stroke(series.look, 1.8)}/>'
    every = math.ceil(len(series.points) / MOST_MARKS)
    for point in series.points[::every]:
        if math.isfinite(point.x) and math.isfinite(point.y):
            yield _mark(point, (x.at(point.x), y.at(point.y)), series.look, x, y, 2.5 if len(series.points) > 12 else 5)


def _write_stroke(look: Look, width: float = 1.6) -> str:
    dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
    return f'stroke="{look.color}" stroke-width="{width:g}"{dash}'


def _mark(  # noqa: PLR0913, PLR0917 - a point, and how it is drawn
    point: Point, at: tuple[float, float], look: Look, x: _Scale, y: _Scale | None = None, radius: float = 5
) -> str:
    (cx, cy), look, bars = at, point.look or look, ""
    if point.across is not None:
        low, high = (x.at(end) for end in point.across)
        bars += (
            f"M{_trim(low)} {_trim(cy)}H{_trim(high)}M{_trim(low)} {_trim(cy - 4)}v8M{_trim(high)} {_trim(cy - 4)}v8"
        )
    if point.up is not None and y is not None:
        low, high = (y.at(end) for end in point.up)
        bars += (
            f"M{_trim(cx)} {_trim(low)}V{_trim(high)}M{_trim(cx - 4)} {_trim(low)}h8M{_trim(cx - 4)} {_trim(high)}h8"
        )
    lines = f'<path d="{bars}" stroke="{look.color}" stroke-width="1.6"/>' if bars else ""
    fill = "none" if point.hollow else look.color
    shape = (
        f'<path d="{_draw_shape(look.shape, cx, cy, radius)}" fill="{fill}" stroke="{look.color}" stroke-width="1.6"/>'
    )
    return _add_title(point.note, lines + shape)


def _draw_shape(name: str, x: float, y: float, r: float = 5.0) -> str:
    if name == "square":
        return f"M{_trim(x - r)} {_trim(y - r)}h{2 * r:g}v{2 * r:g}h-{2 * r:g}Z"
    if name == "triangle":
        return f"M{_trim(x)} {_trim(y - r - 1)}l{r + 1:g} {2 * r:g}h-{2 * r + 2:g}Z"
    if name == "diamond":
        return f"M{_trim(x)} {_trim(y - r - 1)}l{r + 1:g} {r + 1:g}l-{r + 1:g} {r + 1:g}l-{r + 1:g} -{r + 1:g}Z"
    if name == "cross":
        return f"M{_trim(x - r)} {_trim(y - r)}l{2 * r:g} {2 * r:g}M{_trim(x + r)} {_trim(y - r)}l-{2 * r:g} {2 * r:g}"
    return f"M{_trim(x - r)} {_trim(y)}a{r:g} {r:g} 0 1 0 {2 * r:g} 0a{r:g} {r:g} 0 1 0 -{2 * r:g} 0Z"


def _draw_legend(named: dict[str, Look], width: int, top: float) -> tuple[list[str], float]:
    if len(named) < 2:
        return [], top + 4
    parts, x, y = [], 8.0, top + 14
    for name, look in named.items():
        lines = _wrap_text(name, width - 50)
        wide = 34 + LETTER * max(map(len, lines)) + 14
        if x > 8 and x + wide > width:
            x, y = 8.0, y + 20
        parts.append(f'<path d="M{_trim(x)} {_trim(y - 4)}h26" {_write_stroke(look)}/>')
        parts.append(f'<path d="{_draw_shape(look.shape, x + 13, y - 4)}" fill="{look.color}" stroke="{look.color}"/>')
        parts += [_write_text(x + 32, y + 15 * i, line, "start") for i, line in enumerate(lines)]
        x, y = x + wide, y + 15 * (len(lines) - 1)
    return parts, y + 12


def _wrap_text(text: str, width: float) -> list[str]:
    """Break text into lines, after commas too; nothing is left out."""
    room = max(8, int(width / LETTER))
    return (
        textwrap.wrap(re.sub(r",(?=\S)", ", ", for_page(text)), room, break_on_hyphens=False)
        if len(text) > room
        else [for_page(text)]
    )


def _write_text(x: float, y: float, text: str, anchor: str, *, faint: bool = False) -> str:
    shade = ' fill-opacity="0.72"' if faint else ""
    place = f'x="{_trim(x)}" y="{_trim(y)}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor"{shade}>{_escape_text(text)}</text>'


def _escape_text(text: str) -> str:
    return escape(for_page(text), quote=True)


def _write_svg(width: int, height: float, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {width} {math.ceil(height)}" width="{width}" height="{math.ceil(height)}"'
    font = 'font-family="system-ui, sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>{"".join(parts)}</svg>'


def _trim(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
