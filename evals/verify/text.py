r"""One way to write an answer: LaTeX that says nothing about its value is taken away. Text only; nothing is parsed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_SIGNS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ",
    "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
    "∞": r"\infty ", "π": r"\pi ", "°": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ",
    "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "√": r"\sqrt ", "±": r"\pm ",
    "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "✓": "", "✔": "",
    "≦": r"\le ", "≧": r"\ge ", "∖": r"\setminus ", "∉": r"\notin ", "∥": r"\parallel ", "⊥": r"\perp ",
    "∠": r"\angle ", "△": r"\triangle ", "∧": r"\wedge ", "∨": r"\vee ", "¬": r"\neg ", "∴": r"\therefore ",
    "→": r"\to ", "⇒": r"\implies ", "⟹": r"\implies ", "¢": r"\text{ cents}",
})  # fmt: skip
_SUPERSCRIPT = re.compile(r"[⁰¹²³⁴-⁹⁺⁻ⁿⁱ]+")
_SUBSCRIPT = re.compile(r"[₀-₉₊₋ₙₖ]+")
_VULGAR = re.compile(r"[¼-¾⅐-⅞]|[⁰¹²³⁴-⁹]+[⁄/][₀-₉]+")
_ROOT = re.compile(r"([√∛])\s*(\d+(?:\.\d+)?|[A-Za-z])")

Rewrites = tuple[tuple[re.Pattern[str], str], ...]
"""Patterns with their replacements, applied in this order."""


def compile_rewrites(*rules: tuple[str, str]) -> Rewrites:
    """Return rules, each a pattern and its replacement, in compiled form."""
    return tuple((re.compile(pattern), new) for pattern, new in rules)


def rewrite(text: str, rewrites: Rewrites) -> str:
    """Return a text after all rewrites, each applied to the result of the one before."""
    for pattern, new in rewrites:
        text = pattern.sub(new, text)
    return text


_FONTS = (
    "bf|it|sf|tt|sc|em|rm|bfseries|itshape|[hH]uge|LARGE|[lL]arge|normalsize|small|tiny|boldsymbol|mathbf|mathit|mathsf|"
    "mathtt|mathnormal|bm|pmb|underline|uline|framebox|fbox|boxed|ensuremath"
)
_UPRIGHT = "text|textbf|textit|textrm|texttt|textsf|textsc|textnormal|mathrm|mbox|hbox|operatorname|emph"
_FUNCTIONS = "arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|ln|log|exp"
_GROUP = r"\{(?:[^{}]|\{[^{}]*\})*\}"
_ARGUMENT = r"(?:\\(?!sqrt|[dtc]?frac|text|left|right)[A-Za-z]+|[A-Za-z0-9])"
_REWRITES = compile_rewrites(
    # A calculation in lines ends in its value.
    (r"\\begin\{(aligned|align\*?|split|gathered)\}.*\\\\\s*&\s*(=(?:(?!\\\\)[^&])*?)\s*\\end\{\1\}", r"\2"),
    (r"\^\s*\{\s*\}|\\tag\*?\s*\{[^{}]*\}|\\bbox\s*\[[^\]]*\]", " "),
    (r"(?<=[A-Za-z)])\s*\\text\{\s*(?:is|equals)\s*\}\s*(?=[0-9\\-])", "="),
    (r"<sup>([^<>]*)</sup>", r"^{\1}"),
    (r"</?(?:b|i|u|p|em|strong|span|mark|code|answer|sub|br|font|div|small|big|center)(?:\s[^<>]*)?/?>", " "),
    (r"\\text\{\s*(\\text\{[^{}]*\})\s*\}", r"\1"),
    (r"(?<=[0-9A-Za-z)}])\*\*(?=[0-9A-Za-z({-])", "^"),
    # Layout: sizes of brackets, spaces, colours, marks of an end.
    (r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|mathstrut|quad|qquad)(?![A-Za-z])\.?", " "),
    (r"\\(?:textcolor|color|colorbox|[hv]space)\*?\s*\{[^{}]*\}", " "),
    (r"\\(?:checkmark|square|blacksquare|Box|qed|star)(?![A-Za-z])", " "),
    (r"(?<=[0-9])(?:,\\!|\{,\}|\\[,;: ]|')\s*(?=[0-9]{3}(?![0-9]))", ""),
    (r"(?<!\\)\\[!,;:> ]", " "),
    (r"\\\\\s*\[[0-9. ]+(?:pt|em|ex|mm|cm)\]", r"\\\\"),
    (r"\{smallmatrix\}", "{matrix}"),
    (r"\\math(?:bin|rel|op|ord|open|close|punct)(?![A-Za-z])", " "),
    (r"\\(?:text|math)dollar(?![A-Za-z])", r"\\$"),
    # Unit vectors, while they can be told from variables; then fonts, and upright text under one name.
    (
        r"\\(?:mathbf|boldsymbol|bm|vec|hat)\s*\{\s*(?:\\(?:hat|mathbf)\s*)?\{?\s*\\?([ijk])(?:math)?\s*\}?\s*\}",
        r"\\vec{\1}",
    ),
    (r"\{\s*\\rm\s+([^{}]*)\}|\\rm\s*\{([^{}]*)\}", r"\\text{\1\2}"),
    (rf"\\(?:{_FONTS})(?![A-Za-z])", " "),
    (rf"\\(?:{_UPRIGHT})\s*(?=\{{)", r"\\text"),
    (rf"\\(?:{_UPRIGHT})\s+([A-Za-z0-9])(?![A-Za-z])", r"\\text{\1}"),
    (r"\\text\{\s*(?:negative|minus) infinity\s*\}", r"-\\infty "),
    (rf"\\text\{{\s*({_FUNCTIONS})\s*\}}|(?<![A-Za-z\\.])({_FUNCTIONS})(?![A-Za-z])", r"\\\1\2 "),
    (r"\\text\{\s*(pi|infty|infinity)\s*\}|(?<![A-Za-z\\])(pi|infty|infinity)(?![A-Za-z])", r"\\\1\2 "),
    (r"\\infinity", r"\\infty"),
    (r"\\text\{(\s*[ei]\s*|[^{}]*[0-9][^{}]*|[A-Z]{2,})\}", r" \1 "),
    (r"_\s*\{?\s*\\text\{\s*(\w+)\s*\}\s*\}?", r"_{\1}"),
    (r"(\\text\{[^{}]*[^{}\s])\s*\bper ?cent\s*\}", r"\1}%"),
    (r"\\text\{\s*per ?cent\s*\}|\bper ?cent\b", "%"),
    (r"(?:\\text\{\s*)?\b(?:minus|negative)\s*\}?\s*(?=[0-9\\])", "-"),
    (r"(?<=[0-9])\s*\^?\s*(?:\{\s*)?(?:\\text\{\s*)?(?:st|nd|rd|th)(?![A-Za-z])\s*\}?\s*\}?", ""),
    (r"(?<=[0-9])\s*(?:\\text\{\s*to\s*\}|to)\s*(?=[0-9])", ":"),
    (r"(\\text\{[^{}]*\})|(?<=\{)\s+|\s+(?=\})", r"\1"),
    # One name for each sign.
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    # A fraction's arguments without braces are a sign or a name each, as TeX reads them.
    (rf"\\frac\s*({_ARGUMENT})\s*(?={_ARGUMENT}|\{{)", r"\\frac{\1}"),
    (rf"(\\frac\s*{_GROUP})\s*({_ARGUMENT})", r"\1{\2}"),
    (rf"\^\s*(\\frac\s*{_GROUP}\s*{_GROUP})", r"^{\1}"),
    (r"\\(?:leqslant|leq)(?![A-Za-z])", r"\\le"),
    (r"\\(?:geqslant|geq)(?![A-Za-z])", r"\\ge"),
    (r"\s!=|\\neq(?![A-Za-z])|\\not\s*(?:=|\\equiv|\\approx)", r" \\ne "),
    (r"\\text\{\s*([:,.])\s*\}", r"\1"),
    (r"\\pounds(?![A-Za-z])", "£"),
    (r"\\euro(?![A-Za-z])", "€"),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\(?:bigcup|cupdot|sqcup)(?![A-Za-z])", r"\\cup "),
    (r"\\(?:backslash|smallsetminus)(?![A-Za-z])", r"\\setminus "),
    (r"\\set\s*\{([^{}]*)\}", r"\\{\1\\}"),
    (r":=", "="),
    (r"->", r"\\to "),
    (r"\^\s*\{?\s*\\prime\s*\}?", "'"),
    # Names of lengths, triangles and numerals.
    (r"\\overline\s*\{\s*([A-Z]{2})\s*\}|(?<![A-Z|)])\|\s*(?:\\overline\s*)?\{?([A-Z]{2})\}?\s*\|", r" \1\2 "),
    (r"\\overline\s*\{([0-9A-F]+)\}(?=\s*_)", r"\1"),
    (r"(?:\\(?:bigtriangleup|Delta)|\\text\{\s*triangle\s*\})\s*(?=[A-Z]{3}(?![A-Za-z]))", r"\\triangle "),
    (r"\\(?:simeq|sim|doteq|cong)(?![A-Za-z])", r"\\approx "),
    (r"\\[lr]vert(?![A-Za-z])", "|"),
    (r"\\langle(?![A-Za-z])", "("),
    (r"\\rangle(?![A-Za-z])", ")"),
    (r"\\colon(?![A-Za-z])|\{:\}", ":"),
    (r"\\varnothing|\\\{\s*\\\}", r"\\emptyset "),
    (
        r"\\bmod(?![A-Za-z])|\\text\{\s*mod(?:ulo)?\s*\}(?=\s*[0-9])|\(\s*\\?(?:text\{)?\s*mod\s*\}?\s*([0-9]+)\s*\)",
        r"\\pmod \1",
    ),
    (r"\\log_\{?e\}?", r"\\ln "),
    (r"(?:\\text\{abs\}|\babs)\s*\(([^()]*)\)", r"|\1|"),
    (r"(?<![A-Za-z\\])\\?sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![A-Za-z\\])C\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)", r"\\binom{\1}{\2}"),
    (r"(?<![A-Za-z0-9)}])(?:\{\})?[_^]\{?(\w+?)\}?\s*C_\{?(\w+)\}?", r"\\binom{\1}{\2}"),
    (r"\{([^{}]*)\\choose([^{}]*)\}", r"\\binom{\1}{\2}"),
    (r"(?<=[0-9])\s*\^\s*\{?o\}?(?![A-Za-z0-9])|\^\{?\\(?:circ|degree)\}?|\\degree(?![A-Za-z])", r"^\\circ "),
    (r"\^\\circ\s*([CF])(?![A-Za-z])", r"^\\circ\\text{\1}"),
    (r"\\(?:lbrace(?![A-Za-z])|\{)", r"\\{"),
    (r"\\(?:rbrace(?![A-Za-z])|\})", r"\\}"),
    (r"\\(?:lbrack)(?![A-Za-z])", "["),
    (r"\\(?:rbrack)(?![A-Za-z])", "]"),
    (rf"(?<![A-Za-z_^}}\]\\])\{{((?:[^{{}}]|{_GROUP})*)\}}", r" \1 "),  # braces that group nothing
)
_NEEDLESS = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])|(?<=[0-9]) (?=[A-Za-z])|(?<=[A-Za-z]) (?=[0-9])")
_WRAPPED = re.compile(r"\\text\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_OPEN, _CLOSE = "([{", ")]}"


@lru_cache(maxsize=16384)
def tidy(answer: str) -> str:
    r"""Return an answer with one kind of sign, bracket and font: no ``\left``, ``\dfrac`` as ``\frac``, ``½`` too."""
    text = _ROOT.sub(lambda root: rf"\sqrt{'[3]' if root[1] == '∛' else ''}{{{root[2]}}}", answer)
    text = _VULGAR.sub(_write_fraction, text)
    text = _SUPERSCRIPT.sub(lambda run: f"^{{{unicodedata.normalize('NFKC', run[0])}}}", text)
    text = _SUBSCRIPT.sub(lambda run: f"_{{{unicodedata.normalize('NFKC', run[0])}}}", text).translate(_SIGNS)
    text = "".join(
        sign if sign.isascii() else str(unicodedata.decimal(sign, sign))
        for sign in unicodedata.normalize("NFKC", text)
        if unicodedata.category(sign) != "Cf"
    )
    return " ".join(rewrite(text, _REWRITES).split())


def _write_fraction(sign: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", sign[0]).replace("⁄", "/").partition("/")
    return rf"\frac{{{over}}}{{{under}}}"


@lru_cache(maxsize=16384)
def make_key(answer: str) -> str:
    r"""Return a tidy answer without the spaces and braces that LaTeX does not need; equal keys are equal answers."""
    return re.sub(r"(?<=[_^])\{([A-Za-z0-9])\}", r"\1", close_up(tidy(answer)))


def close_up(text: str) -> str:
    """Return tidy text without the spaces that part neither two digits nor two letters."""
    return _NEEDLESS.sub("", text)


@lru_cache(maxsize=16384)
def read_words(answer: str) -> str:
    r"""Return the words of an answer: no ``\text{}`` or ``**`` around them, small letters, single spaces."""
    return unwrap(answer).casefold()


def unwrap(answer: str) -> str:
    r"""Return an answer without ``\text{}`` or ``**`` around its words, with single spaces."""
    text = re.sub(rf"\\(?:{_UPRIGHT}|mathbf|mathit)\s*\{{", r"\\text{", answer)
    text = re.sub(r"[*`~$]", " ", text)
    while (bare := _WRAPPED.sub(r" \1 ", text)) != text:
        text = bare
    return " ".join(text.replace(r"\ ", " ").split()).strip(" .,;:")


def walk_outside(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield (index, sign) of what stands in no bracket; brackets pair by level, so that ``(0, 1]`` is a pair."""
    level = 0
    for index, sign in enumerate(text):
        if sign in _CLOSE:
            level -= 1
        elif sign in _OPEN:
            level += 1
        elif level == 0:
            yield index, sign


def is_enclosed(text: str) -> bool:
    """Return whether the bracket that opens the text closes at its end."""
    level = 0
    for index, sign in enumerate(text):
        level += (sign in _OPEN) - (sign in _CLOSE)
        if level <= 0:
            return index == len(text) - 1
    return False
