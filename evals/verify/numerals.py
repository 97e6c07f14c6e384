"""Numbers in English words."""

from __future__ import annotations

from fractions import Fraction

SCALES = {
    "hundred": 100, "thousand": 1000, "k": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
SPELLED = ONES | TENS
"""Value of each word for a number below a hundred that is one word."""
PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "hundredth": 100, "thousandth": 1000,
}  # fmt: skip


def read_numeral(words: str) -> Fraction | None:
    """Return the value of a number in English words (``three and a half``); None if they are no number, or several."""
    parts = words.casefold().replace("-", " ").split()
    sign = -1 if parts[:1] in (["minus"], ["negative"]) else 1
    parts = ["one" if part in ("a", "an") else part for part in (parts[1:] if sign < 0 else parts)]
    part = "half" if parts and parts[-1] == "halves" else parts[-1].removesuffix("s") if parts else ""
    if part not in PARTS:
        value = _read_cardinal(parts)
        return None if value is None else sign * Fraction(value)
    whole, top = 0, parts[:-1]
    if "and" in top:
        cut = len(top) - top[::-1].index("and")
        whole, top = _read_cardinal(top[: cut - 1]) or 0, top[cut:]
        if not whole:
            return None
    over = 1 if part == "half" and not top else _read_cardinal(top)
    if not over or (over == 1) is not (parts[-1] == part):
        return None
    return sign * (whole + Fraction(over, PARTS[part]))


def _read_cardinal(words: list[str]) -> int | None:
    """Return the value of ``three thousand and twelve``; None if the words do not follow one another so."""
    total, group, ceiling = 0, 0, 10**15
    previous = ""
    for word in words:
        if word == "and":
            if previous not in SCALES:
                return None
        elif word in SPELLED:
            fits = group % 100 == 0 or (group % 100 in TENS.values() and 0 < SPELLED[word] < 10)
            if not fits or (SPELLED[word] == 0 and len(words) > 1):
                return None
            group += SPELLED[word]
        elif word in ("hundred", "dozen"):
            if not 0 < group < 100:
                return None
            group *= SCALES[word]
        else:
            if not group or SCALES.get(word, ceiling) >= ceiling:
                return None
            ceiling = SCALES[word]
            total, group = total + group * ceiling, 0
        previous = word
    return total + group if words and previous != "and" else None
