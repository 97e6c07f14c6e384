"""Text of models for a page: what would steer the reader's machine or eyes is shown instead of obeyed, and bounded.

Escaping for HTML is the template's. This is about characters that HTML passes on: NUL, marks that reverse the direction
of writing, invisible ones, and halves of surrogate pairs, which cannot even be written to a file.
"""

from __future__ import annotations

import unicodedata

_JOINERS = frozenset("\u200c\u200d")  # parts of ordinary words and emoji
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MARKS_IN_A_ROW = 4


def visible(text: str) -> str:
    """Return the text with control, invisible and direction characters named, as in ``⟨U+202E⟩``.

    Line feeds and tabs stay. Of combining marks in a row, which pile up over other lines, the first few stay.
    """
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= _MARKS_IN_A_ROW:
            shown.append(_symbol(character) if _steers(character, category) else character)
    return "".join(shown)


def _steers(character: str, category: str) -> bool:
    return category in _HIDDEN and character not in "\n\t" and character not in _JOINERS


def _symbol(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


def clipped(text: str, most: int) -> str:
    """Return a text of at most about `most` characters: its beginning and its end, where a critic's verdict stands."""
    if len(text) <= most:
        return visible(text)
    head, tail = most * 3 // 4, most // 4
    left_out = len(text) - head - tail
    return f"{visible(text[:head])}\n… {left_out:,} characters left out …\n{visible(text[-tail:])}"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign, as text has it: ``+0.82``, ``−1``, ``0``."""
    shown = f"{value:+.{digits}f}".rstrip("0").rstrip(".")
    return "0" if shown in {"+0", "-0"} else shown.replace("-", "−")


def plain_number(value: float) -> str:
    """Return a number without a plus: ``2``, ``−0.5``."""
    return f"{value:g}".replace("-", "−")
