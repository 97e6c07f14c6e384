r"""Numbers compared without a parser: decimals, fractions, mixed and repeating ones, percentages, bases, times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from evals.verify.numerals import SPELLED
from evals.verify.text import close_up, compile_rewrites, read_words, rewrite, tidy

_WHOLE = r"(?:[1-9][0-9]{0,2}(?:[, ][0-9]{3})+|[0-9]{1,60})"
_DECIMAL = rf"(?:{_WHOLE}(?:\.[0-9]{{0,60}})?|\.[0-9]{{1,60}})"
_TEN = r"(?:[eE](?P<e>[+-]?[0-9]{1,3})|(?:\\times|\\cdot|x|\*)10\^(?:\{(?P<ten>[+-]?[0-9]{1,3})\}|(?P<digit>[0-9])))"
_SLASH = r"(?P<over_sign>[/:])(?P<under>[0-9]{1,40})"
_FRAC = r"\\frac\{(?P<over>-?[0-9]{1,40})\}\{(?P<below>-?[0-9]{1,40})\}"
_MIXED = r"(?P<integer>[0-9]{1,40}) (?P<above>[0-9]{1,40})/(?P<beneath>[0-9]{1,40})"
_REPEATING = (
    r"(?P<start>[0-9]{0,40}\.[0-9]{0,40}?)(?:\\(?:overline|bar|dot)(?:\{(?P<again>[0-9]{1,40})\}|(?P<one>[0-9]))"
    r"|\((?P<round>[0-9]{1,40})\)|(?:(?P<shown>[0-9]{1,20}?)(?P=shown){2,}|(?P<twice>[0-9]{2,20}?)(?P=twice))(?:\.\.\.|\\[lc]?dots))"
)
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?:{_MIXED}|{_REPEATING}|(?P<mantissa>{_DECIMAL})(?:{_TEN}|{_SLASH})?|(?P<mixed>[0-9]{{1,40}})?{_FRAC})"
    r"(?P<percent>\\?%)?"
)
_BASE = r"[0-9]{1,2}|" + "|".join(SPELLED)
_NUMERAL = re.compile(
    rf"\(?(?P<digits>[0-9A-F]*[0-9][0-9A-F.]*|[A-F]{{2,}})\)?"
    rf"(?:_\{{?(?:\\text\{{)?(?P<base>{_BASE})\}}*|\(?(?:\\text\{{)?\(?(?:in )?base[ -]?\}}?(?P<named>{_BASE})\)?\}}?)?"
)
_TIME = re.compile(r"([0-9]{1,2})(?::([0-5][0-9])(?::([0-5][0-9]))?)?(?: ?([ap])\.? ?m)?")
_DAYTIMES = compile_rewrites(
    (r" ?o'clock", ""),
    (r"(?:12(?::00)? ?)?noon", "12:00 pm"),
    (r"(?:12(?::00)? ?)?midnight", "12:00 am"),
    (r",? in the morning", " am"),
    (r",? in the (?:afternoon|evening)", " pm"),
)
_PLACES = 6
_SIGNIFICANT = 4


@dataclass(frozen=True)
class Number:
    """A number that was written out.

    Attributes:
        value: Its value; of a percentage the number before the sign.
        rounded: Whether it is a decimal and may have been rounded.
        percent: Whether a percent sign stood behind it.
    """

    value: Fraction
    rounded: bool
    percent: bool


@lru_cache(maxsize=8192)
def read_number(text: str) -> Number | None:
    """Read a number; None if the text is anything else."""
    written = _NUMBER.fullmatch(close_up(tidy(text)))
    if written is None:
        return None
    part = {name: value or "" for name, value in written.groupdict().items()}
    try:
        value = _read_parts(part)
    except ZeroDivisionError:
        return None
    if part["over_sign"] == ":" and not value:
        return None  # 0 to 1 is a range
    rounded = "." in part["mantissa"] and value.denominator != 1 and not part["under"]
    return Number(-value if part["sign"] == "-" else value, rounded, bool(part["percent"]))


def read_multiple_of_pi(text: str) -> Fraction | None:
    r"""Return the rational number that ``\pi`` is multiplied with; None if the text is no multiple of it."""
    tidied = close_up(tidy(text))
    if tidied.count(r"\pi") != 1 or re.search(r"(?:/|\}\{)[^{}]*\\pi|\\pi\s*\^", tidied):
        return None
    number = read_number(re.sub(r"\\pi\s*", "1", re.sub(r"(?<=[0-9}])\s*(?:\\cdot\s*)?\\pi\s*", "", tidied)))
    return None if number is None else number.value


def _read_parts(part: dict[str, str]) -> Fraction:
    if part["start"]:
        return _read_repeating(
            part["start"], part["again"] or part["one"] or part["round"] or part["shown"] or part["twice"]
        )
    if part["integer"]:
        return Fraction(part["integer"]) + Fraction(int(part["above"]), int(part["beneath"]))
    if part["over"]:
        return Fraction(part["mixed"] or 0) + Fraction(int(part["over"]), int(part["below"]))
    value = Fraction(re.sub("[, ]", "", part["mantissa"]).rstrip(".") or 0)
    if part["under"]:
        return value / int(part["under"])
    return value * Fraction(10) ** int(part["e"] or part["ten"] or part["digit"] or 0)


def _read_repeating(start: str, period: str) -> Fraction:
    """Return the value of a decimal whose last digits go on for ever."""
    places = len(start.partition(".")[2])
    return Fraction(f"0{start}0") + Fraction(int(period), (10 ** len(period) - 1) * 10**places)


def compare_numbers(answer: str, reference: str) -> bool | None:
    """Compare two numbers; None if one of them is not a number written out.

    Exact unless one is a decimal: then they are equal that round to the same six places, or to as many as small ones
    need for four significant digits. A percentage equals its value, and its number where the sign may have been left
    out: by the answer, or by a reference that is neither a share (at most 1) nor a fraction.
    """
    ours, theirs = read_number(answer), read_number(reference)
    if ours is None or theirs is None:
        return None
    rounded = ours.rounded or theirs.rounded
    same = _is_close(ours.value, theirs.value, rounded)
    if ours.percent == theirs.percent:
        return same
    if theirs.percent:
        return same or _is_close(ours.value, theirs.value / 100, rounded)
    share = abs(theirs.value) <= 1 or not (theirs.rounded or theirs.value.denominator == 1)
    return _is_close(ours.value / 100, theirs.value, rounded) if share else same


def compare_numerals(answer: str, reference: str) -> bool | None:
    """Compare numerals of which one names its base; the reference's base may go without saying. Else None."""
    ours, theirs = (_NUMERAL.fullmatch(close_up(each)) for each in (answer, reference))
    if ours is None or theirs is None:
        return None
    base, wanted = (each["base"] or each["named"] for each in (ours, theirs))
    if base is None and wanted is None:
        return None
    values = [int(SPELLED.get(each or "10", each or 10)) for each in (base, wanted)]
    return ours["digits"].lstrip("0") == theirs["digits"].lstrip("0") and (base is None or values[0] == values[1])


def read_based(text: str) -> int | None:
    """Return the value of a numeral that names its base; None if it is none."""
    numeral = _NUMERAL.fullmatch(close_up(text))
    base = numeral and (numeral["base"] or numeral["named"])
    try:
        return int(numeral["digits"], int(SPELLED.get(base, base))) if numeral and base else None
    except ValueError:  # a digit that the base does not have
        return None


def compare_times(answer: str, reference: str) -> bool | None:
    """Compare times of day; None if one of them is none. Morning or afternoon may be left unsaid."""
    ours, theirs = (_read_time(each) for each in (answer, reference))
    if ours is None or theirs is None or not all(each[2] or each[4] for each in (ours, theirs)):
        return None
    minutes = [
        int(each[1]) % (12 if each[4] else 24) * 60 + int(each[2] or 0) + 720 * (each[4] == "p")
        for each in (ours, theirs)
    ]
    unsaid = any(not each[4] and int(each[1]) <= 12 for each in (ours, theirs)) and (ours[4] or theirs[4])
    halves = 720 if unsaid else 1440
    return minutes[0] % halves == minutes[1] % halves and int(ours[3] or 0) == int(theirs[3] or 0)


def _read_time(text: str) -> re.Match[str] | None:
    return _TIME.fullmatch(rewrite(read_words(text), _DAYTIMES))


def _is_close(ours: Fraction, theirs: Fraction, rounded: bool) -> bool:
    if ours == theirs or not rounded:
        return ours == theirs
    largest, places = max(abs(ours), abs(theirs)), _PLACES
    while largest and largest * 10**places < 10 ** (_SIGNIFICANT - 1):
        places += 1
    return round(ours, places) == round(theirs, places)
