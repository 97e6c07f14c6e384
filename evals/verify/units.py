r"""Units: text after a number (before it, for money) that is not part of its value. Percent signs stay."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from evals.verify import text as texts
from evals.verify.numbers import read_number
from evals.verify.words import changes_value

_NAMES: dict[str, dict[str, tuple[str, str]]] = {
    "length": {
        "mm": ("0.001", "mm millimeter millimeters millimetre millimetres"), "m": ("1", "m meter meters metre metres"),
        "cm": ("0.01", "cm centimeter centimeters centimetre centimetres"), "inch": ("0.0254", "in inch inches"),
        "km": ("1000", "km kilometer kilometers kilometre kilometres"), "foot": ("0.3048", "ft foot feet"),
        "yard": ("0.9144", "yard yards yd"), "mile": ("1609.344", "mi mile miles"),
    },
    "time": {
        "second": ("1", "s sec secs second seconds"), "minute": ("60", "min mins minute minutes"),
        "hour": ("3600", "h hr hrs hour hours"), "day": ("86400", "day days"), "week": ("604800", "week weeks"),
    },
    "calendar": {"month": ("1", "month months"), "year": ("12", "year years yr yrs")},
    "mass": {
        "g": ("0.001", "g gram grams"), "kg": ("1", "kg kgs kilogram kilograms"),
        "mg": ("0.000001", "mg milligram milligrams"), "pound": ("0.45359237", "lb lbs pound pounds £"),
        "ounce": ("0.028349523125", "oz ounce ounces"),
    },
    "money": {"dollar": ("1", "usd \\$ $ dollar dollars"), "cent": ("0.01", "cent cents")},
    "euro": {"euro": ("1", "€ euro euros eur")},
    "rupee": {"rupee": ("1", "₹ rs rs. rupee rupees inr")},
    "yen": {"yen": ("1", "¥ yen jpy")},
    "angle": {"degree": ("60", "^\\circ deg degree degrees"), "arcminute": ("1", "' arcminute arcminutes")},
    "radian": {"radian": ("1", "rad radian radians")},
    "celsius": {"celsius": ("1", "^\\circc celsius")},
    "fahrenheit": {"fahrenheit": ("1", "^\\circf fahrenheit")},
    "share": {"percent": ("1", "%")},
    "unit": {"unit": ("1", "unit units")},
    "current": {"ampere": ("1", "ampere amperes amp amps")},
    "kelvin": {"kelvin": ("1", "kelvin kelvins")},
    "amount": {"mole": ("1", "mole moles mol")},
    "electronvolt": {"electronvolt": ("1", "electronvolt electronvolts")},
    "calorie": {"calorie": ("1", "cal calorie calories")},
}  # fmt: skip
"""Units by what they measure: the size of each in the first or SI unit of its kind, and how it is written."""
_DERIVED = {
    "liter": ("0.001 m^3", "l liter liters litre litres"), "ml": ("0.000001 m^3", "ml milliliter milliliters"),
    "km/hour": ("1 km/hour", "kmh kph"), "mile/hour": ("1 mile/hour", "mph"),
    "newton": ("1 m kg/second^2", "newton newtons"), "joule": ("1 m^2 kg/second^2", "joule joules"),
    "watt": ("1 m^2 kg/second^3", "watt watts"), "pascal": ("1 kg/m second^2", "pascal pascals"),
    "volt": ("1 m^2 kg/second^3 ampere", "volt volts"), "ohm": ("1 m^2 kg/second^3 ampere^2", "ohm ohms"),
    "coulomb": ("1 second ampere", "coulomb coulombs"), "farad": ("1 second^4 ampere^2/m^2 kg", "farad farads"),
    "tesla": ("1 kg/second^2 ampere", "tesla teslas"), "hertz": ("1 /second", "hertz"),
}  # fmt: skip
"""Units made of others: how large and of which."""
_SYMBOLS = {
    "m": "m", "s": "second", "g": "g", "A": "ampere", "K": "kelvin", "mol": "mole", "eV": "electronvolt", "N": "newton",
    "J": "joule", "W": "watt", "Pa": "pascal", "V": "volt", "\\Omega": "ohm", "C": "coulomb", "F": "farad",
    "T": "tesla", "Hz": "hertz", "L": "liter", "cal": "calorie",
}  # fmt: skip
"""Symbols before which a prefix may stand; small and capital letters differ."""
_PREFIXES = {
    "p": "1e-12", "n": "1e-9", "\\mu": "1e-6", "m": "1e-3", "c": "0.01", "d": "0.1", "": "1", "k": "1e3", "M": "1e6",
    "G": "1e9", "T": "1e12",
    "pico": "1e-12", "nano": "1e-9", "micro": "1e-6", "milli": "1e-3", "kilo": "1e3", "mega": "1e6", "giga": "1e9",
}  # fmt: skip
_KNOWN = {
    alias: name
    for names in (*_NAMES.values(), _DERIVED)
    for name, (_, aliases) in names.items()
    for alias in aliases.split()
}
_SIMPLE = {name: (kind, Fraction(size)) for kind, names in _NAMES.items() for name, (size, _) in names.items()}
_MONEY = re.compile(r"^(-?)\s*(?:\\text\s*\{\s*)?(\\\$|\$|€|£|₹|¥|USD|Rs\.?)\s*\}?\s*(-?)\s*(?=[0-9.])")
_POWER = r"\^\s*\{?\s*-?[0-9]\s*\}?"
_PLACE = rf"\{{\s*\\text\s*\{{[^{{}}]*\}}\s*(?:{_POWER})?\s*\}}"
_TOKEN = (
    rf"(?:\\text\s*\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}|\\frac\s*{_PLACE}\s*{_PLACE}|[kM]?\\Omega(?![a-z])|\\mu(?![a-z]))"
)
_MARKED = re.compile(rf"\s*(?:\^\\circ\s*)?(?:{_TOKEN}(?:\s*(?:{_TOKEN}|{_POWER}|/|\\cdot))*|(?<=\^\\circ)\s*)\s*$")
_BARE = re.compile(rf"(?<=[0-9)}}])(\s*)\\?\s*([A-Za-z][A-Za-z./' -]{{0,60}}?)\s*({_POWER})?\s*$")
_SIGN = re.compile(r"(?P<kept>%|(?<=[0-9])\s*(?:'{1,2}|\^\{?\\prime\}?))$|(?<=\S)\s*\^\\circ$")
_LETTERS = re.compile(r"(?<!\\)(?<![\\A-Za-z])[A-Za-z]+")
_SHORT = ("of", "in", "on", "at", "per", "for", "each", "to", "a", "an", "by")
_RESPELLED = texts.compile_rewrites(
    (r"\b(?:square|sq\.?) (\w+)", r"\1^2"),
    (r"\bcubic (\w+)", r"\1^3"),
    (r"(?<=\w) squared\b", "^2"),
    (r"(?<=\w) cubed\b", "^3"),
    (r"\bdegrees? (?=[CFcf])", ""),
    (r" per ", "/"),
    (r"\\cdot ?|\*", " "),
    (r"\\mu ?", r"\\mu"),
    (r"(?<=[kM]) (?=\\Omega)", ""),
    (r"\\circ (?=[CFcf]\b)", r"\\circ"),
    (r"^(?:of )?an? ", ""),
)
_FACTOR = re.compile(r"\^\\circ\w?|[^/ ^()0-9-][^/ ^()0-9-]*")
_PART = re.compile(r"\s*(?:,|and)?\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+|\^\\circ|')\.?")


@dataclass(frozen=True)
class _Measure:
    """What a unit measures: a size in SI units, and the power of each kind."""

    size: Fraction
    kinds: frozenset[tuple[str, int]]


def name_unit(unit: str) -> str:
    r"""Return one name for a unit however it is written: ``\text{ inches}^2`` and ``square inches`` are ``inch^2``."""
    spelled = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"\1/\2", texts.unwrap(texts.tidy(unit)))
    bare = re.sub(r"\s*([/^])\s*", r"\1", re.sub(r"[{}$]", "", spelled)).strip(" .")
    return _FACTOR.sub(_name_factor, texts.rewrite(bare, _RESPELLED)).strip()


def _name_factor(factor: re.Match[str]) -> str:
    word = factor[0]
    return _KNOWN.get(word.casefold()) or (word if _measure_symbol(word) else word.casefold())


@lru_cache(maxsize=4096)
def _measure(unit: str) -> _Measure | None:
    """Return what a unit measures by its name; None if one of its factors is in no table."""
    size, kinds = Fraction(1), Counter[str]()
    for place, side in enumerate(unit.split("/")):
        for factor in side.strip("() ").split():
            name, _, power = factor.partition("^")
            base = _measure_name(name)
            if base is None or not re.fullmatch(r"|-?[0-9]", power):
                return None
            exponent = int(power or 1) * (-1 if place else 1)
            size *= base.size**exponent
            kinds.update({kind: times * exponent for kind, times in base.kinds})
    return _Measure(size, frozenset((kind, times) for kind, times in kinds.items() if times)) if kinds else None


def _measure_name(name: str) -> _Measure | None:
    if name in _SIMPLE:
        kind, size = _SIMPLE[name]
        return _Measure(size, frozenset([(kind, 1)]))
    if name not in _DERIVED:
        return _measure_symbol(name)
    amount, _, factors = _DERIVED[name][0].partition(" ")
    measure = _measure(factors)
    return measure and _Measure(measure.size * Fraction(amount), measure.kinds)


def _measure_symbol(symbol: str) -> _Measure | None:
    r"""Return what a symbol or name with a prefix measures: ``kJ``, ``\mum``, ``kilojoules``."""
    for prefix, size in _PREFIXES.items():
        rest = symbol.removeprefix(prefix)
        name = _SYMBOLS.get(rest) if len(prefix) < len("nano") else _KNOWN.get(rest)
        if symbol.startswith(prefix) and name and (measure := _measure_name(name)):
            return _Measure(measure.size * Fraction(size), measure.kinds)
    return None


def split(answer: str) -> tuple[str, str | None]:
    """Cut a bare answer into its value and its unit (None without one)."""
    if total := _add_up(answer):
        return total
    if money := _MONEY.match(answer):
        return (money[1] + money[3] + split(answer[money.end() :])[0]).strip(), _KNOWN[money[2].casefold()]
    if sign := _SIGN.search(answer):
        kept = answer if sign["kept"] else answer[: sign.start()].strip()
        return kept, "percent" if sign[0] == "%" else "arcminute" if sign["kept"] else "degree"
    return _split_named(answer) or (answer, None)


def _split_named(answer: str) -> tuple[str, str] | None:
    """Cut off a unit or what was counted, in words that do not change the value."""
    marked = _MARKED.search(answer)
    if marked and marked[0].strip() and _has_value(answer[: marked.start()]):
        unit = name_unit(marked[0])
        if not changes_value(unit):
            return answer[: marked.start()].rstrip(" ~\\"), unit
    bare = _BARE.search(answer)
    if bare is None or _LETTERS.search(answer[: bare.start()]) or changes_value(bare[2]):
        return None
    unit = name_unit(bare[2] + (bare[3] or ""))
    if (len(bare[2]) > 1 and is_listed(unit)) or (bare[1] and _can_be_counted(bare[2])):
        return answer[: bare.start()].rstrip(" ~\\"), unit
    return None


def is_listed(unit: str) -> bool:
    """Return whether a canonical unit, or the one it is a power of, is in the tables of names."""
    name = unit.partition("^")[0]
    return name in _SIMPLE or name in _DERIVED


def do_units_clash(ours: str | None, theirs: str | None) -> bool:
    """Return whether both sides name a unit of known size, and these differ."""
    if ours is None or theirs is None:
        return False
    measures = _measure(ours), _measure(theirs)
    return None not in measures and measures[0] != measures[1]


def convert(value: str, ours: str, theirs: str) -> str | None:
    """Return an amount of one known unit in another; None if it is no number or the units measure different things."""
    amount, unit, other = read_number(value.removesuffix("'")), _measure(ours), _measure(theirs)
    if amount is None or unit is None or other is None or unit.kinds != other.kinds:
        return None
    return str(amount.value * unit.size / other.size)


def _add_up(answer: str) -> tuple[str, str] | None:
    """Add up an amount in several units of one kind, in the first of them: ``5 hours and 30 minutes``."""
    words = texts.read_words(answer)
    parts: list[tuple[str, str]] = []
    end = 0
    while part := _PART.match(words, end):
        parts, end = [*parts, (part[1], _KNOWN.get(part[2], ""))], part.end()
    if len(parts) < 2 or words[end:].strip() or not all(unit in _SIMPLE for _, unit in parts):
        return None
    sizes = [_SIMPLE[unit][1] for _, unit in parts]
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
