"""Text of studies and models made inert, one function a sink: it is shown, and does nothing.

Names of variants, what models write and what servers answer may hold formulas, markup, and characters that steer a
terminal or turn the direction of writing. HTML is escaped by its templates; what HTML passes on is `for_page`'s.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

_JOINERS = frozenset("\u200c\u200d")  # parts of ordinary words and emoji
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MARKS_IN_A_ROW = 4
_PLAIN = re.compile("[\t\n\x20-\x7e\xa1-\xac\xae-\u02ff\u0370-\u0373\u0391-\u03ff\u2010-\u2027\u2190-\u22ff]*")
"""Text without any character that is hidden, steers, or stands over another: letters, dashes, arrows, mathematics."""
_FORMULA = re.compile(r"[=+\-@\t\r\n|%]")
_NUMBER = re.compile(r"[+\-−]?[\d.,]+(e[+\-]?\d+)?( ?%)?", re.IGNORECASE)
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "α": r"$\alpha$",
    "–": "--", "…": r"\ldots{}", "≥": r"$\geq$", "≤": r"$\leq$", "Δ": r"$\Delta$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}  # fmt: skip


def for_terminal(text: str) -> str:
    """Return text on one line whose control characters are escaped, so that it cannot steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def for_page(text: str) -> str:
    """Return text for a page or a figure, with control, invisible and direction characters named: ``⟨U+202E⟩``.

    Line feeds and tabs stay. Of combining marks in a row, which pile up over other lines, the first few stay.
    """
    if _PLAIN.fullmatch(text):
        return text
    shown, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= _MARKS_IN_A_ROW:
            shown.append(f"⟨U+{ord(character):04X}⟩" if _steers(character, category) else character)
    return "".join(shown)


def _steers(character: str, category: str) -> bool:
    return category in _HIDDEN and character not in "\n\t" and character not in _JOINERS


def for_markdown(text: str) -> str:
    """Return text that Markdown shows as it stands, on one line."""
    flat = re.sub(r"\s+", " ", for_page(text))
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", flat)


def for_latex(text: str) -> str:
    """Return text that LaTeX prints as it stands, on one line; what no font of its has is a question mark."""
    flat = re.sub(r"\s+", " ", text)
    return "".join(_LATEX.get(c, c if c.isascii() and c.isprintable() else "?") for c in flat)


def for_csv(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text that begins like one begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    shown = for_page(value)
    return f"'{shown}" if _FORMULA.match(shown.lstrip(" ")) and not _NUMBER.fullmatch(shown.strip()) else shown


def write_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV file of rows; None is an empty cell."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([for_csv(cell) for cell in row] for row in rows)
    return out.getvalue()
