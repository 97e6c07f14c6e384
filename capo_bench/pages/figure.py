"""A finished figure: its drawing in two widths, its caption, and its words for who does not see it."""

from __future__ import annotations

from dataclasses import dataclass

from capo_bench.pages.svg import NARROW, WIDE, Drawing


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
