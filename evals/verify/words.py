r"""Words around a value: those that do not change it, those that change it, and those that are a value themselves."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from evals.verify.numerals import ONES, PARTS, SCALES, SPELLED, TENS, read_numeral
from evals.verify.text import read_words, tidy

_COUNTS = "|".join([*list(ONES)[2:], *TENS, "zero", "(?:and|times|plus) one"])
_VERB = r"(?:is|are|was|equals?|be|comes? (?:out )?to)"
_LEADING = re.compile(
    r"(?:\s*(?:so|thus|hence|therefore|then|we|get|have|obtain|find|the|final|answer|ans|value|result|is|are|equals?|to|be|"
    r"was|it|there|that|this|total|a total|sum|number|(?<!sum )(?<!number )of|exactly|precisely|just|only|simply|"
    r"clearly|obviously|indeed|about|around|approximately|roughly|must|will|would|should|point|pair|vector|ordered)"
    r"(?![A-Za-z]))*\s*",
    re.IGNORECASE,
)
_CHANGES = (
    r"not|no|never|none|nobody|nothing|neither|nor|cannot|can't|[a-z]+n't|except|without|exclud(?:e[ds]?|ing)",
    r"least|most|than|over|under|above|below|between|within|beyond|up|exceeds|greater|smaller|larger|bigger|fewer|less|more",
    r"or|either|if|unless|suppos(?:e|ing)|assum(?:e|ing)|any|almost|nearly|too|approaches",
    r"fails?|false|wrong|impossible|undefined|undetermined|rejected|extraneous|invalid|error|discarded|omitted|contradict[a-z]*",
    r"is|are|was|were|will|would|could|might|may|should|has|have",
    r"plus|minus|divided|factorial|choose|squared|cubed|root|mod|base|double|triple|twice",
    r"half|quarter|halves|quarters|(?:thi|fou)r(?:d|th)s|(?:fif|six|seven|eigh|nin|ten|hundred|thousand)ths",
    rf"(?:hundred|thousand|million|billion|trillion|dozen)s?|(?:{_COUNTS})s?(?!-)",
    r"[ap]\.?\s?m|mornings?|afternoons?|evenings?|midnight|noon",
)
"""Words that make another answer of a value: denials, bounds, doubts, verbs, operations, numbers, times of day."""
_CHANGING = re.compile(rf"(?<![a-z\\])(?:{'|'.join(_CHANGES)})(?![a-z'])")
_SETS = {
    r"\emptyset": "no solution|no solutions|no real solution|no real solutions|empty set|none",
    r"(-\infty,\infty)": r"\mathbbr|all real numbers|all reals|any real number|real numbers|reals",
    r"(0,\infty)": r"all positive real numbers|all positive reals|positive real numbers|positive reals|"
    r"\mathbbr^+|\mathbbr_+|\mathbbr_>0",
    r"[0,\infty)": "all nonnegative real numbers|all non-negative real numbers",
    r"(-\infty,0)": "all negative real numbers|all negative reals",
}
_SET_NAMES = {phrase: written for written, phrases in _SETS.items() for phrase in phrases.split("|")}
_ARTICLES = re.compile(r"(?:there (?:is|are) |the |set of )*")
_ALL_BUT = re.compile(
    r"\s*(?:\\text\{\s*)?(?:the set of )?all (?:real numbers|reals)(?: [a-z])?,? "
    r"(?P<how>except|but|other than|excluding|"
    r"(?:greater|less|more|fewer) than(?P<equal> or equal to)?)(?: for)?\s*\}?\s*(?P<bound>.+)",
    re.IGNORECASE | re.DOTALL,
)
_LEAD = re.compile(
    r"(?:\\text\{\s*([^{}]*?)[\s:,]*\}|([A-Za-z']{2,})(?=[\s:,])"
    r"|(?:[=:,]|\\(?:approx|equiv|to|implies|therefore|leadsto|(?:L|l)?(?:ong)?[rR]ightarrow)(?![A-Za-z])))[\s:]*"
)
_REMARK = re.compile(
    r"(?<=\S)[\s,;(*]*(?:\\text\{)?[\s,;(]*(?:(?<![A-Za-z\\])(?:because|since|as|which|so|thus|hence|therefore)"
    r"|rather than|instead of|(?<=[,;(] )(?:not|each|with|at|where we|using|by|from(?= [0-9(]))"
    r"|(?<=[,;(])(?:not|each|with)|after(?= [a-z]+ing)|-+ (?:the|this|that is|exactly))(?![A-Za-z]).*",
    re.DOTALL,
)
_SCALED = re.compile(
    rf"([0-9][0-9,]*(?:\.[0-9]+)?)\s*(?:\\text\{{\s*({'|'.join(SCALES)})(?![A-Za-z])(?!\s*\}}?\s*\\Omega)"
    rf"|({'|'.join(scale for scale in SCALES if scale != 'k')})(?![A-Za-z]))"
)
_NUMERAL_WORD = "|".join(
    [*SPELLED, *(scale for scale in SCALES if scale != "k"), "halves", *(f"{part}s?" for part in PARTS)]
)
_NUMERAL = re.compile(
    rf"\A(\\text\{{)?\s*((?:(?:minus|negative)\s+)?(?:an?\s+)?(?:{_NUMERAL_WORD})"
    rf"(?:(?:\s*-\s*|\s+)(?:and\s+)?(?:an?\s+)?(?:{_NUMERAL_WORD})(?![A-Za-z]))*)(?![A-Za-z])\s*(\}})?",
    re.IGNORECASE,
)
_AND_PART = re.compile(
    rf"\A([0-9]{{1,9}})\s*(\\text\{{)?\s*and\s+((?:an?|one)[\s-]+(?:{'|'.join(PARTS)}))(?![A-Za-z])\s*(\}})?",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"\s*(?:\\text\{)?\s*(?:is|was) (?:the|our|my) (?:final |correct )?(?:answer|result|solution|total)\s*\}?\Z"
)
_OPENING = re.compile(
    rf"\A\\text\{{\s*(?:(?:so|thus|hence|therefore|the|final|answer|result|it|this|that|he|she|we|they)\s+)*"
    rf"(?:{_VERB}\s*:?|only|exactly|just|precisely)\s+(?=[A-Za-z])",
    re.IGNORECASE,
)
_ALL_WITH = re.compile(
    r"\A(?:\\text\{)?\s*all (?:real (?:numbers |values of )?|values of )?\}?\s*[a-z]\s*(?:\\text\{)?\s*"
    r"(?:such that|with|satisfying|where)\s*\}?\s*(?=\S)"
)
_CLAUSE = re.compile(
    r"\A(?:\\text\{)?\s*((?:[A-Za-z']+\s+){1,3}?)(?:will (?:have |need )?)?(?:ha[sd]|have|needs?|needed|"
    r"makes?|made|earn(?:s|ed)?|gets?|got|receive[sd]?|pays?|paid|spends?|spent|runs?|ran|sells?|sold|costs?|takes?|took|"
    r"owe[sd]?|buys?|bought|save[sd]?|uses?|used|eats?|ate|gains?|gained|lost|reads?|walk(?:s|ed))\s*"
    r"(?:a total of\s*|exactly\s*)?\}?\s*(?=[0-9$]|\\\$)",
    re.IGNORECASE,
)
"""How a sentence begins that says who has, needs or did as many."""
_RESTATED = re.compile(r"\s*\(\s*(=|\\approx|or|\\text\{\s*or\s*\})\s*([^()]+)\)\Z")
_BUT = re.compile(
    r"\A(?:\\text\{)?\s*(?:not\b[^,;]*?\bbut"
    r"|[^;]*?\bbut (?:it|this|that) (?:is|should be|must be)(?: actually| really)?)"
    r"\s*\}?\s*(?=[0-9\\$-])",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"(?<=[0-9}])\s*\(\s*(?:\\text\{)?\s*([A-Za-z][A-Za-z ]{2,})\}?\s*\)\Z")
_DENIAL = re.compile(
    r"\b(?:no (?:real )?(?:solution|answer)s?|undefined|impossible|contradict\w+|(?:does|do) not exist)\b"
)
_QUOTES = "*_`'\""


@lru_cache(maxsize=16384)
def strip_words(answer: str) -> str:
    r"""Return a tidy answer without the words, signs and quotes that only introduce or explain it.

    ``\text{The answer is } 18`` is ``18``, ``= 42`` is ``42``, ``18, since 9 + 9 = 18`` is ``18``,
    ``5 \text{ million}`` is ``5000000``, ``\text{seven apples}`` is ``7 \text{apples}``.
    """
    text = _RESTATED.sub(r" \1 \2", _ASIDE.sub(r"\\text{ \1}", tidy(answer)))
    if (remark := _REMARK.search(text)) and not _DENIAL.search(remark[0]):
        text = text[: remark.start()]
    text = _OPENING.sub(r"\\text{", _ALL_WITH.sub("", _BUT.sub("", _CLOSING.sub("", text))))
    while text[:1] in _QUOTES and text[-1:] in _QUOTES and len(text) > 2:
        text = text[1:-1].strip()
    while (lead := _LEAD.match(text)) and lead.end() < len(text) and _introduces_only(lead):
        text = text[lead.end() :]
    if (clause := _CLAUSE.match(text)) and not changes_value(clause[1]):
        text = text[clause.end() :]
    text = _AND_PART.sub(_write_mixed, text)
    return _SCALED.sub(_write_scaled, _NUMERAL.sub(_write_digits, text)).rstrip(".,;: ")


def _introduces_only(lead: re.Match[str]) -> bool:
    """Return whether words say nothing about the value, as ``the answer is`` or the label ``Total cost:``."""
    words = lead[1] or lead[2] or ""
    label = re.search(r":[\s:}]*\Z", lead[0]) and re.fullmatch(r"[A-Za-z][A-Za-z ]{2,}", words)
    return bool(_LEADING.fullmatch(words)) or (label is not None and not changes_value(words))


def read_named_set(text: str) -> str:
    """Return a set in signs if words name it (``all real numbers except 1``); return any other text as it is."""
    if named := _ALL_BUT.fullmatch(text):
        bound = named["bound"].strip("{} ")
        if named["how"].casefold().startswith(("greater", "more")):
            return rf"{'[' if named['equal'] else '('}{bound},\infty)"
        if named["how"].casefold().startswith(("less", "fewer")):
            return rf"(-\infty,{bound}{']' if named['equal'] else ')'}"
        return rf"\mathbb{{R}}\setminus\{{{re.sub(r'x *(=|.ne) *', '', bound)}\}}"
    words = read_words(text)
    if words.startswith("\\mathbb"):
        words = re.sub(r"[{} ]", "", words)
    return _SET_NAMES.get(words) or _SET_NAMES.get(_ARTICLES.sub("", words, count=1), text)


def changes_value(words: str) -> bool:
    """Return whether words around a value change it. "More" or "less" before a noun only say what was counted."""
    return bool(_CHANGING.search(re.sub(r"^(?:more|less|fewer)(?![a-z])", "", read_words(words))))


def _write_scaled(amount: re.Match[str]) -> str:
    value = Fraction(amount[1].replace(",", "")) * SCALES[amount[2] or amount[3]]
    return _write_number(value) + (r"\text{" if amount[2] else "")


def _write_digits(numeral: re.Match[str]) -> str:
    r"""Write a number in words as digits: ``\text{twenty-five apples}`` is ``25\text{ apples}``."""
    words = re.sub(r"\s*-\s*", "-", numeral[2])
    cuts = [*(gap.start() for gap in re.finditer(r"[\s-]+", words)), len(words)]
    for cut in reversed(cuts):
        value, rest = read_numeral(words[:cut]), words[cut:].strip(" -")
        if value is not None and (not rest or rest.casefold().startswith("and ")):
            joined = rest and f" {rest}"
            return _write_number(value) + (rf"\text{{{joined} " if numeral[1] and not numeral[3] else f"{joined} ")
    return numeral[0]


def _write_mixed(amount: re.Match[str]) -> str:
    value = int(amount[1]) + (read_numeral(amount[3]) or 0)
    return _write_number(Fraction(value)) + (r"\text{ " if amount[2] and not amount[4] else "")


def _write_number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value)
    return rf"{'-' if value < 0 else ''}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
