r"""Words around a value: those that do not change it, those that change it, and those that are a value themselves."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from evals.verify.text import read_words, tidy

_LEADING = re.compile(
    r"(?:\s*(?:so|thus|hence|therefore|then|we|get|have|obtain|find|the|final|answer|ans|value|result|is|are|equals?|to|be|"
    r"was|it|there|that|this|total|sum|of|number|exactly|precisely|just|only|simply|clearly|obviously|indeed|about|around|"
    r"approximately|roughly|must|will|would|should)(?![A-Za-z]))*\s*",
    re.IGNORECASE,
)
_CHANGING = re.compile(
    r"(?<![a-z\\])(?:not|no|never|none|neither|nor|cannot|can't|least|most|than|over|under|above|below|between|within|beyond|"
    r"up|exceeds|greater|smaller|larger|bigger|fewer|less|more|or|either|if|unless|except|without|almost|nearly|half|quarter|"
    r"double|triple|twice|(?:hundred|thousand|million|billion|trillion|dozen)s?|[a-z]+n't|fails?|false|wrong|impossible|undefined|undetermined|too|"
    r"any|is|are|was|were|will|would|could|might|may|should|has|have|squared|cubed|root|halves|(?:thi|fou)r(?:d|th)s|"
    r"quarters|(?:fif|six|seven|eigh|nin|ten|hundred|thousand)ths|[ap]\.?\s?m|mod|base|approaches)(?![a-z'])"
)
_SCALES = {
    "hundred": 100, "thousand": 1000, "k": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_ONES = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
SPELLED = _ONES | _TENS
"""Value of each word for a number below a hundred that is one word."""
_SETS = {
    r"\emptyset": "no solution|no solutions|no real solution|no real solutions|the empty set|empty set",
    r"(-\infty,\infty)": r"\mathbb{r}|\mathbb r|all real numbers|all reals|the set of all real numbers|any real number",
    r"(0,\infty)": "all positive real numbers|all positive reals",
    r"[0,\infty)": "all nonnegative real numbers|all non-negative real numbers",
    r"(-\infty,0)": "all negative real numbers|all negative reals",
}
_SET_NAMES = {phrase: written for written, phrases in _SETS.items() for phrase in phrases.split("|")}
_LEAD = re.compile(
    r"(?:\\text\{\s*([^{}]*?)[\s:,]*\}|([A-Za-z']{2,})(?=[\s:,])"
    r"|(?:[=:,]|\\(?:approx|equiv|to|implies|therefore|leadsto|(?:L|l)?(?:ong)?[rR]ightarrow)(?![A-Za-z])))[\s:]*"
)
_REMARK = re.compile(
    r"(?<=\S)[\s,;(]*(?:\\text\{)?[\s,;(]*(?:(?<![A-Za-z\\])(?:because|since|as|which|so|thus|hence|therefore)"
    r"|(?<=[,;(] )not|(?<=,)not)(?![A-Za-z]).*",
    re.DOTALL,
)
_SCALED = re.compile(
    rf"([0-9][0-9,]*(?:\.[0-9]+)?)\s*(?:\\text\{{\s*({'|'.join(_SCALES)})(?![A-Za-z])"
    rf"|({'|'.join(scale for scale in _SCALES if scale != 'k')})(?![A-Za-z]))"
)
_WORDS = re.compile(
    rf"\A(\\text\{{)?\s*(?:({'|'.join(_TENS)})(?:[- ]({'|'.join(list(_ONES)[1:10])}))?|({'|'.join(_ONES)}))"
    r"(?![A-Za-z])\s*(\})?",
    re.IGNORECASE,
)
_QUOTES = "*_`'\""


@lru_cache(maxsize=16384)
def strip_words(answer: str) -> str:
    r"""Return a tidy answer without the words, signs and quotes that only introduce or explain it.

    ``\text{The answer is } 18`` is ``18``, ``= 42`` is ``42``, ``18, since 9 + 9 = 18`` is ``18``,
    ``5 \text{ million}`` is ``5000000``, ``\text{seven apples}`` is ``7 \text{apples}``.
    """
    text = _REMARK.sub("", tidy(answer))
    while text[:1] in _QUOTES and text[-1:] in _QUOTES and len(text) > 2:
        text = text[1:-1].strip()
    while (lead := _LEAD.match(text)) and lead.end() < len(text) and _LEADING.fullmatch(lead[1] or lead[2] or ""):
        text = text[lead.end() :]
    return _SCALED.sub(_write_scaled, _WORDS.sub(_write_digits, text)).rstrip(".,;: ")


def read_named_set(text: str) -> str:
    """Return a set in signs if words name it (``all real numbers``); return any other text as it is."""
    return _SET_NAMES.get(read_words(text), text)


def changes_value(words: str) -> bool:
    """Return whether words around a value change it. A lone "more" or "less" only says what was counted."""
    text = read_words(words)
    return text not in ("more", "less", "fewer") and bool(_CHANGING.search(text))


def _write_scaled(amount: re.Match[str]) -> str:
    value = Fraction(amount[1].replace(",", "")) * _SCALES[amount[2] or amount[3]]
    written = str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    return written + (r"\text{" if amount[2] else "")


def _write_digits(numeral: re.Match[str]) -> str:
    r"""Write a number in words as digits: ``\text{twenty-five apples}`` is ``25\text{ apples}``."""
    total = sum(SPELLED[word.casefold()] for word in numeral.group(2, 3, 4) if word)
    return str(total) + (r"\text{ " if numeral[1] and not numeral[5] else " ")
