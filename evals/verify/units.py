r"""Units: text after a number (before it, for money) that is not part of its value. Percent signs stay."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from evals.verify import text as texts
from evals.verify.numbers import read_number
from evals.verify.words import changes_value

_NAMES: dict[str, dict[str, tuple[float, str]]] = {
    "length": {
        "mm": (1, "mm millimeter millimeters millimetre millimetres"), "m": (1000, "m meter meters metre metres"),
        "cm": (10, "cm centimeter centimeters centimetre centimetres"), "inch": (25.4, "in inch inches"),
        "km": (10**6, "km kilometer kilometers kilometre kilometres"), "foot": (304.8, "ft foot feet"),
        "yard": (914.4, "yard yards yd"), "mile": (1609344, "mi mile miles"),
    },
    "time": {
        "second": (1, "s sec secs second seconds"), "minute": (60, "min mins minute minutes"),
        "hour": (3600, "h hr hrs hour hours"), "day": (86400, "day days"), "week": (604800, "week weeks"),
    },
    "calendar": {"month": (1, "month months"), "year": (12, "year years yr yrs")},
    "weight": {
        "g": (1, "g gram grams"), "kg": (1000, "kg kilogram kilograms"), "mg": (0.001, "mg milligram milligrams"),
        "pound": (453.59237, "lb lbs pound pounds £"), "ounce": (28.349523125, "oz ounce ounces"),
    },
    "volume": {"liter": (1000, "l liter liters litre litres"), "ml": (1, "ml milliliter milliliters")},
    "money": {"dollar": (100, "USD \\$ $ dollar dollars usd"), "cent": (1, "cent cents")},
    "euro": {"euro": (1, "€ euro euros eur")},
    "angle": {"degree": (60, "^\\circ deg degree degrees"), "arcminute": (1, "' arcminute arcminutes")},
    "radian": {"radian": (1, "rad radian radians")},
    "temperature": {"celsius": (1, "^\\circc celsius")},
    "fahrenheit": {"fahrenheit": (1, "^\\circf fahrenheit")},
    "share": {"percent": (1, "%")},
    "speed": {"km/hour": (1, "km/h kmh kph"), "mile/hour": (1.609344, "mph")},
    "m/second": {"m/second": (1, "m/s")},
    "unit": {"unit": (1, "unit units")},
}  # fmt: skip
_KNOWN = {alias: name for names in _NAMES.values() for name, (_, aliases) in names.items() for alias in aliases.split()}
_SIZES = {name: (kind, size) for kind, names in _NAMES.items() for name, (size, _) in names.items()}
_POWERS = {"square": "2", "sq": "2", "cubic": "3"}
_MONEY = re.compile(r"^(-?)\s*(?:\\text\s*\{\s*)?(\\\$|\$|€|£|USD)\s*\}?\s*(?=[0-9.])")
_POWER = r"\^\s*\{?\s*-?[0-9]\s*\}?"
_PLACE = rf"\{{\s*\\text\s*\{{[^{{}}]*\}}\s*(?:{_POWER})?\s*\}}"
_TOKEN = rf"(?:\\text\s*\{{[^{{}}]*\}}|\\frac\s*{_PLACE}\s*{_PLACE}|[kM]?\\Omega(?![a-z])|\\mu(?![a-z]))"
_MARKED = re.compile(rf"\s*(?:\^\\circ\s*)?(?:{_TOKEN}(?:\s*(?:{_TOKEN}|{_POWER}|/|\\cdot))*|(?<=\^\\circ)\s*)\s*$")
_BARE = re.compile(rf"(?<=[0-9)}}])(\s*)\\?\s*([A-Za-z][A-Za-z./' -]{{0,60}}?)\s*({_POWER})?\s*$")
_SIGN = re.compile(r"(?P<kept>%|(?<=[0-9])\s*(?:'{1,2}|\^\{?\\prime\}?))$|(?<=\S)\s*\^\\circ$")
_LETTERS = re.compile(r"(?<!\\)(?<![\\A-Za-z])[A-Za-z]+")
_SHORT = ("of", "in", "on", "at", "per", "for", "each", "to", "a", "an", "by")
_PART = re.compile(r"\s*(?:,|and)?\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+|\^\\circ|')\.?")


def name_unit(unit: str) -> str:
    r"""Return one name for a unit however it is written: ``\text{ inches}^2`` and ``square inches`` are ``inch2``."""
    spelled = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", texts.read_words(texts.tidy(unit)))
    bare = re.sub(r"\s*([/^])\s*", r"\1", re.sub(r"[{}$]", "", spelled)).strip(" .")
    power = "".join(re.findall(r"\^([23])$", bare))
    words = re.sub(r"\^[23]$", "", bare).replace("^\\circ ", "^\\circ").replace(" per ", "/").split()
    power = next((_POWERS[word] for word in words if word in _POWERS), power)
    named = "/".join(_KNOWN.get(part, part) for part in " ".join(w for w in words if w not in _POWERS).split("/"))
    return (_KNOWN.get(named, named) + power).strip()


def split(answer: str) -> tuple[str, str | None]:
    """Cut a bare answer into its value and its unit (None without one)."""
    if total := _add_up(answer):
        return total
    if money := _MONEY.match(answer):
        return (money[1] + split(answer[money.end() :])[0]).strip(), _KNOWN[money[2]]
    if sign := _SIGN.search(answer):
        kept = answer if sign["kept"] else answer[: sign.start()].strip()
        return kept, "percent" if sign[0] == "%" else "arcminute" if sign["kept"] else "degree"
    return _split_named(answer) or (answer, None)


def _split_named(answer: str) -> tuple[str, str] | None:
    """Cut off a unit or what was counted, in words that do not change the value."""
    marked = _MARKED.search(answer)
    if marked and marked[0].strip() and _has_value(answer[: marked.start()]) and not changes_value(marked[0]):
        return answer[: marked.start()].rstrip(" ~\\"), name_unit(marked[0])
    bare = _BARE.search(answer)
    if bare is None or _LETTERS.search(answer[: bare.start()]) or changes_value(bare[2]):
        return None
    unit = name_unit(bare[2] + (bare[3] or ""))
    if (len(bare[2]) > 1 and is_listed(unit)) or (bare[1] and _can_be_counted(bare[2])):
        return answer[: bare.start()].rstrip(" ~\\"), unit
    return None


def is_listed(unit: str) -> bool:
    """Return whether a canonical unit is in the table of units."""
    return unit.rstrip("23") in _SIZES


def units_clash(ours: str | None, theirs: str | None) -> bool:
    """Return whether both sides name a unit from the table, and different ones."""
    return ours is not None and theirs is not None and ours != theirs and is_listed(ours) and is_listed(theirs)


def convert(value: str, ours: str, theirs: str) -> str | None:
    """Return an amount of one listed unit in another; None if it is no number or the units measure different things."""
    amount, (kind, size), (other, unit) = read_number(value), _SIZES[ours.rstrip("23")], _SIZES[theirs.rstrip("23")]
    power = ours[len(ours.rstrip("23")) :]
    if amount is None or kind != other or power != theirs[len(theirs.rstrip("23")) :]:
        return None
    return str(amount.value * (Fraction(str(size)) / Fraction(str(unit))) ** int(power or 1))


def _add_up(answer: str) -> tuple[str, str] | None:
    """Add up an amount in several units of one kind, in the first of them: ``5 hours and 30 minutes``."""
    words = texts.read_words(answer)
    parts: list[tuple[str, str]] = []
    end = 0
    while part := _PART.match(words, end):
        parts, end = [*parts, (part[1], _KNOWN.get(part[2], ""))], part.end()
    if len(parts) < 2 or words[end:].strip() or not all(unit in _SIZES for _, unit in parts):
        return None
    sizes = [_SIZES[unit][1] for _, unit in parts]
    if any(after >= before for before, after in pairwise(sizes)):
        return None
    amounts = [convert(amount, unit, parts[0][1]) for amount, unit in parts]
    if None in amounts:
        return None
    return str(sum(Fraction(amount) for amount in amounts if amount)), parts[0][1]


def _can_be_counted(words: str) -> bool:
    """Return whether words after a number can name what was counted, and are not variables."""
    first, *rest = words.split()
    return (len(first) > 2 or first in _SHORT) and all(len(word) > 1 or word in _SHORT for word in rest)


def _has_value(before: str) -> bool:
    return any(sign.isdigit() for sign in before) or "\\pi" in before
