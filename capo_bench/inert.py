"""Escape text from studies and models for each output format, with one function per format.

Names of variants, text from models and responses of servers may contain formulas, markup, and characters that control a
terminal or change the direction of writing. HTML templates escape markup themselves; `for_page` handles the characters
that HTML does not escape.
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
"""Text of letters, dashes, arrows and mathematical symbols, without hidden, control or combining characters."""
_FORMULA = re.compile(r"[=+\-@\t\r\n|%]")
_NUMBER = re.compile(r"[+\-−]?[\d.,]+(e[+\-]?\d+)?( ?%)?", re.IGNORECASE)
_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "×": r"$\times$", "±": r"$\pm$", "−": r"$-$", "α": r"$\alpha$",
    "–": "--", "…": r"\ldots{}", "≥": r"$\geq$", "≤": r"$\leq$", "Δ": r"$\Delta$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}  # fmt: skip


def for_terminal(text: str) -> str:
    """Return text as one line with its control characters escaped; it cannot control a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def for_page(text: str) -> str:
    """Return text for a page or a figure, with control, invisible and direction characters named: ``⟨U+202E⟩``.

    Line feeds and tabs are kept. A long run of combining marks covers other lines, so only its first four are kept.
    """
    if _PLAIN.fullmatch(text):
        return text
    shown, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= _MARKS_IN_A_ROW:
            shown.append(f"⟨U+{ord(character):04X}⟩" if _is_hidden(character, category) else character)
    return "".join(shown)


def _is_hidden(character: str, category: str) -> bool:
    return category in _HIDDEN and character not in "\n\t" and character not in _JOINERS


def for_markdown(text: str) -> str:
    """Return text as one line that Markdown displays literally."""
    flat = re.sub(r"\s+", " ", for_page(text))
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", flat)


def for_prose(text: str) -> str:
    """Return a sentence as one line of Markdown: what stands between two backticks is code, the rest is literal."""
    parts = text.split("`")

    def write(number: int, part: str) -> str:
        if number % 2 == 0:
            return for_markdown(part)
        if not part or number == len(parts) - 1:  # no code, or no second backtick
            return for_markdown(f"`{part}" + "`" * (number < len(parts) - 1))
        code = re.sub(r"\s+", " ", for_page(part))
        return f"`{code}`"

    return "".join(write(number, part) for number, part in enumerate(parts))


def for_latex(text: str) -> str:
    """Return text as one line that LaTeX prints literally; characters that its fonts lack become question marks."""
    flat = re.sub(r"\s+", " ", text)
    return "".join(_LATEX.get(c, c if c.isascii() and c.isprintable() else "?") for c in flat)


def for_csv(value: object) -> object:
    """Return a cell that no spreadsheet treats as a formula: text that looks like one gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    shown = for_page(value)
    plain = unicodedata.normalize("NFKC", shown).lstrip()  # spreadsheets read ＝ as they read =
    return f"'{shown}" if _FORMULA.match(plain) and not _NUMBER.fullmatch(shown.strip()) else shown


def write_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV file of rows; None is an empty cell."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([for_csv(cell) for cell in row] for row in rows)
    return out.getvalue()
