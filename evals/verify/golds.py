"""Compare an answer with a reference as far as possible without a parser."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from evals.verify import answers, choices, rules, units
from evals.verify.forms import MATHEMATICAL, Form
from evals.verify.numbers import compare_numbers, compare_numerals, compare_times, read_multiple_of_pi, read_number
from evals.verify.structure import read
from evals.verify.text import make_key, read_words, walk_outside
from evals.verify.walk import Value, compare_values
from evals.verify.words import changes_value, strip_words

_WORD = re.compile(r"\s*\\text\s*\{[^{}\\^_]*\}.*", re.DOTALL)
_SPELT = re.compile(r"[A-Za-z][a-z' -]{2,}")
_ARTICLE = re.compile(r"^(?:an?|the|on|in|at) (?=[a-z]{2})")
_PREDICATE = re.compile(r",| (?:is|was|has|will|does|did|can)(?![a-z])")
_COMMAND = re.compile(r"\\(?!text)[A-Za-z]+|\\text")
_BINDING = re.compile(r"\\(?:sum|prod|i{0,2}int|lim|log)(?![a-z])")
_GROUPED = re.compile(r"(?<![0-9,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9,])")
_MIXED = re.compile(r"(-?[0-9]+)\s*(?:\\text\{\s*and\s*\}|and)\s*([0-9]+/[0-9]+|\\frac\{[0-9]+\}\{[0-9]+\})")
_LETTERS = re.compile(r"[a-z][a-z' -]{2,}|no|\(?[a-z]\)?")


_MARKS: tuple[Callable[[str], bool], ...] = (
    lambda text: "dots" in text,
    lambda text: "\\approx" in text,
    lambda text: text.startswith("0:"),
    lambda text: "'" in text and read_number(text.rstrip("'")) is None,
)
"""Signs that a parser passes over although they change what is said: they stand on both sides or on none."""


@dataclass(frozen=True)
class Reference:
    """A reference answer, read once.

    Attributes:
        text: As `answers.clean` leaves it.
        value: With its parts.
        unit: Canonical name of its unit; None without one.
    """

    text: str
    value: Value
    unit: str | None


@dataclass(frozen=True)
class Question:
    """A comparison that only a parser can decide, and the answer as a verdict shows it."""

    answer: Value
    reference: Value
    shown: str


@lru_cache(maxsize=8192)
def read_reference(text: str, form: Form) -> Reference:
    """Read a reference: the answer itself or a text that boxes it."""
    boxed = answers.read_boxed(text)
    clean = answers.clean(text if boxed is None else boxed)
    unit = units.name_unit(form.unit) if form.unit else None
    if unit == "percent" and not clean.endswith("%"):
        clean, unit = f"{clean}%", None
    # A reference over the caps is matched by its own text alone.
    value = clean if rules.find_broken_cap(clean) else read(clean, several=form.several)
    return Reference(clean, value, unit or units.split(strip_words(clean))[1])


def compare(answer: str, gold: Reference, form: Form) -> bool | Question:
    """Compare a clean answer with its reference, or return the question for a parser."""
    if answer == gold.text or make_key(answer) == make_key(gold.text):
        return True
    simple = strip_words(answer)
    value, unit = units.split(simple)
    if (turned := _compare_angles((value, unit), gold)) is not None:
        return turned
    if unit and gold.unit and units.do_units_clash(unit, gold.unit):
        amount = units.convert(value, unit, gold.unit)
        return amount is not None and compare_values(amount, gold.value, compare_leaf) is True
    if form.unit and unit is None:
        simple = _remove_unit(simple, form.unit)
    best: bool | Question = False
    for value in _read_values(simple, unit, gold, form):
        same = compare_values(value, gold.value, compare_leaf)
        if same is True:
            return True
        if same is None and best is False:
            best = Question(value, gold.value, answer)
    return best


def _compare_angles(answer: tuple[str, str | None], gold: Reference) -> bool | None:
    r"""Compare degrees with multiples of ``\pi``; None unless one side is the one and the other side the other."""
    sides = answer, (gold.value, gold.unit)
    if {"degree"} != {unit for _, unit in sides if unit not in (None, "radian")} or not isinstance(gold.value, str):
        return None
    (degrees, _), (radians, _) = sorted(sides, key=lambda side: side[1] != "degree")
    turns, degree = read_multiple_of_pi(radians.rpartition("=")[2]), read_number(degrees.rpartition("=")[2])
    return None if turns is None else degree is not None and turns * 180 == degree.value


def count_equal(answers: Iterable[str]) -> list[int]:
    """Return how many there are of each answer: ``9,000`` and ``9000`` are one, formulas only where their texts are."""
    counts: dict[str, int] = {}
    for answer, times in Counter(answers).items():
        same = next((each for each in counts if _is_plainly_equal(answer, each)), answer)
        counts[same] = counts.get(same, 0) + times
    return list(counts.values())


@lru_cache(maxsize=65536)
def _is_plainly_equal(answer: str, other: str) -> bool:
    return (
        not rules.find_broken_cap(answer) and compare(answer, read_reference(other, MATHEMATICAL), MATHEMATICAL) is True
    )


def compare_leaf(answer: str, gold: str) -> bool | None:
    """Compare two texts without parts: equal text, numbers, words; None if only a parser can decide."""
    if answer == gold or make_key(answer) == make_key(gold):
        return True
    for rule in (compare_numerals, compare_times, compare_numbers, _compare_words):
        same = rule(answer, gold)
        if same is not None:
            return same
    # A parser would multiply letters: words that are no name in the reference must not become its value.
    strange = _free_letters(answer) - _free_letters(gold) - {"e", "i"}
    unlike = _equates(answer) != _equates(gold) or any(mark(answer) != mark(gold) for mark in _MARKS)
    return False if unlike or (strange and not _BINDING.search(answer)) else None


def _free_letters(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]", _COMMAND.sub(" ", text)))


def _equates(text: str) -> bool:
    return any(sign == "=" for _, sign in walk_outside(text))


def _compare_words(answer: str, gold: str) -> bool | None:
    r"""Compare words: ``\text{Even}`` is ``even``, ``\text{(C) 5}`` is ``C``, ``Ann is the oldest`` is ``Ann``."""
    ours, theirs = (_ARTICLE.sub("", read_words(text)) for text in (answer, gold))
    marked = any(_WORD.fullmatch(text) for text in (answer, gold))
    if not _LETTERS.fullmatch(theirs) or not (marked or (_SPELT.fullmatch(answer) and _SPELT.fullmatch(gold))):
        return None
    if ours.strip("()") == theirs.strip("()"):
        return True
    if theirs == "no" or re.fullmatch(r"\(?[a-z]\)?", theirs):
        letters = re.findall(r"\(([a-z])\)", ours)
        named = (choices.find_letter(answer, ()) or "").casefold()
        return len(letters) < 2 and (named == theirs.strip("()") or ours.startswith(f"{theirs},"))
    rest = ours.removeprefix(theirs)
    if rest != ours and _PREDICATE.match(rest) and not changes_value(_PREDICATE.sub("", rest)):
        return " and " not in rest
    return False if _LETTERS.fullmatch(ours) else None


def _read_values(answer: str, unit: str | None, gold: Reference, form: Form) -> list[Value]:
    """Read an answer; of several values also with ``1,350`` as one of them; cents also as dollars."""
    value = read(answer, several=form.several)
    if not form.several and (mixed := _MIXED.fullmatch(answer)):
        return [value, f"{mixed[1]} {mixed[2]}"]
    if unit == "cent" and gold.unit is None and isinstance(value, str) and read_number(value):
        return [value, units.convert(value, "cent", "dollar")]
    if (
        not form.several
        or isinstance(value, str)
        or len(value) != len(gold.value)
        or len(value[2]) == len(gold.value[2])
    ):
        return [value]
    ungrouped = _GROUPED.sub(lambda digits: digits[0].replace(",", ""), answer)
    return [value, read(ungrouped, several=True)]


def _remove_unit(answer: str, unit: str) -> str:
    """Remove a unit that follows a number without being marked as a unit."""
    name = unit.replace("$", "").strip()
    return answer[: -len(name)].strip() if answer.endswith(name) and answer[:-1].strip() != name else answer
