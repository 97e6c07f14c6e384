"""Which answers may be parsed at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

MAX_LENGTH = 1000
"""Characters. The longest reference of the benchmarks in use has about 220."""
MAX_DEPTH = 12
"""Brackets open at once, of any kind. The references of the benchmarks in use open four."""
MAX_DIGITS = 60
"""Digits in a row."""
MAX_LETTERS = 60
"""Letters in a row."""
MAX_SIGNS = 10
"""Plus and minus signs in a row."""
MAX_ITEMS = 100
"""Commas, semicolons and column marks."""
MAX_CELLS = 16
"""Cells of a matrix that must be inverted or whose determinant is asked."""
MAX_OPERATORS = 2
"""Sums, products, integrals and limits."""
MAX_EXPONENTS = 2
"""Exponents stacked on one another: ``e^{x^2}`` has two."""

_DIGITS = re.compile(rf"[0-9]{{{MAX_DIGITS + 1}}}")
_LETTERS = re.compile(rf"[A-Za-z]{{{MAX_LETTERS + 1}}}")
_TOWER = re.compile(r"[0-9]\s*(?:\^|\*\*)\s*[{(]?\s*([0-9]+)\s*(?:\^|\*\*)\s*[{(]?\s*([0-9]+)")
_MANY_TERMS = re.compile(r"\\(?:sum|prod|d?binom|int)(?![a-z]).*(?:[0-9]{2,}\s*\^\s*\{?[0-9]|[0-9]{5})", re.DOTALL)
_OPERATORS = re.compile(r"\\(?:sum|prod|i{0,2}int|lim)(?![a-z])")
_HUGE_EXPONENT = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[-+]?\s*[0-9]{6}")
_HUGE_FACTORIAL = re.compile(r"[0-9]{6}\s*!|!\s*!\s*!|(?:\^[0-9{} ]*|!\s*)\)\s*!")
_SIGNS = re.compile(rf"(?:[-+]\s*){{{MAX_SIGNS + 1}}}")
_DETERMINANT = re.compile(r"\\begin\{[vV]matrix\}|\\det(?![a-z])|matrix\}\s*\^")
_SIGN = re.compile(r"\*\*|[0-9]+|\S")


def find_broken_cap(answer: str) -> str | None:
    """Return the cap that an answer breaks, or None if it may be parsed. The same answer always gives the same."""
    return next((reason for reason, breaks in _CAPS.items() if breaks(answer)), None)


def _holds_control(answer: str) -> bool:
    return any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\r\t" for sign in answer)


def _leaves_braces_open(answer: str) -> bool:
    bare = re.sub(r"\\.", "", answer, flags=re.DOTALL)
    level = 0
    for sign in bare:
        level += (sign == "{") - (sign == "}")
        if level < 0:
            return True
    return level != 0


def _measure_depth(answer: str) -> int:
    level = deepest = 0
    for sign in answer:
        level += (sign in "{([") - (sign in "})]")
        deepest = max(deepest, level)
    return deepest


def count_exponents(answer: str) -> int:
    """Return how many exponents are stacked at most: 0 in ``x``, 1 in ``x^2y^3``, 2 in ``e^{x^2}`` and ``2^3^4``."""
    outer: list[tuple[int, int]] = []  # for each open bracket: the level around it and the exponents before it there
    level = stacked = highest = 0
    previous = ""
    for sign in _SIGN.findall(answer):
        raised = previous in ("^", "**")
        if sign in ("^", "**"):
            stacked += 1
            highest = max(highest, level + stacked)
        elif sign in "{([":
            outer.append((level, stacked if raised else 0))
            level, stacked = level + (stacked if raised else 0), 0
        elif sign in "})]":
            level, stacked = outer.pop() if outer else (0, 0)
        elif not raised:
            stacked = 0
        previous = sign
    return highest


def _has_tower(answer: str) -> bool:
    """Return whether a number is raised to a power of numbers that has more than five digits."""
    return any(
        len(base) > 5 or len(power) > 2 or int(base) ** int(power) >= 10**5 for base, power in _TOWER.findall(answer)
    )


_CAPS: dict[str, Callable[[str], bool]] = {
    f"longer than {MAX_LENGTH} characters": lambda answer: len(answer) > MAX_LENGTH,  # first: the rest read it all
    "holds control characters": _holds_control,
    "braces do not close": _leaves_braces_open,
    f"nested deeper than {MAX_DEPTH}": lambda answer: _measure_depth(answer) > MAX_DEPTH,
    f"more than {MAX_DIGITS} digits in a row": lambda answer: bool(_DIGITS.search(answer)),
    f"more than {MAX_LETTERS} letters in a row": lambda answer: bool(_LETTERS.search(answer)),
    f"more than {MAX_SIGNS} signs in a row": lambda answer: bool(_SIGNS.search(answer)),
    f"more than {MAX_ITEMS} items": lambda answer: sum(answer.count(mark) for mark in ",;&") > MAX_ITEMS,
    "an exponent of six digits": lambda answer: bool(_HUGE_EXPONENT.search(answer)),
    f"more than {MAX_EXPONENTS} stacked exponents": lambda answer: count_exponents(answer) > MAX_EXPONENTS,
    "a number to a power of six digits": _has_tower,
    f"more than {MAX_OPERATORS} sums, products, integrals or limits": lambda answer: (
        len(_OPERATORS.findall(answer)) > MAX_OPERATORS
    ),
    "a sum, product or binomial of many terms": lambda answer: bool(_MANY_TERMS.search(answer)),
    f"a determinant or power of a matrix of more than {MAX_CELLS} cells": lambda answer: (
        answer.count("&") + answer.count(r"\\") >= MAX_CELLS and bool(_DETERMINANT.search(answer))
    ),
    "a factorial of six digits, of a power or factorial, or three in a row": lambda answer: bool(
        _HUGE_FACTORIAL.search(answer)
    ),
}
