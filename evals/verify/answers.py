r"""Find the final answer in a completion. Text only; nothing is parsed.

Rules are tried in this order, the first that finds something decides, and each takes its *last* occurrence:

1. ``\boxed{…}`` (or ``\fbox{…}``) whose braces close,
2. "answer is …" or "answer: …", to the end of the sentence,
3. ``#### …``, to the end of the line,
4. a number.

How far down the list a verifier goes is its `AnswerStyle`.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Literal

AnswerStyle = Literal["boxed", "stated", "last_number"]
"""``"boxed"``: rule 1; ``"stated"``: rules 1 to 3; ``"last_number"``: all four."""

READ_CHARACTERS = 100_000
"""Only so many characters at the end of a completion are read, so that extraction takes bounded time."""

_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_STATED = re.compile(r"\banswer\s*(?:is\s*:?|:)", re.IGNORECASE)
_INLINE_MATH = re.compile(r"[\s*:]*(?:\$\$?(?P<dollar>[^$]+)\$|\\\((?P<paren>.+?)\\\))")
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n")
_NUMBER = re.compile(r"(?<![\w.])-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:/[0-9]+)?")
_MATH_MARKS = re.compile(r"(?<!\\)\$|\\[()\[\]]")
_THIN_SPACE = re.compile(r"(?<=[0-9])\\,(?=[0-9]{3}(?![0-9]))")


def boxed(text: str) -> str | None:
    r"""Return what stands in the last ``\boxed{…}`` whose braces close; None if there is none. Linear in `text`."""
    opened: list[int | None] = []
    best: tuple[int, int] | None = None
    for token in _BRACES.finditer(text):
        if token["box"] or token["open"]:
            opened.append(token.end() if token["box"] else None)
        elif token["close"] and opened:
            start = opened.pop()
            if start is not None and (best is None or start > best[0]):
                best = (start, token.start())
    return None if best is None else text[slice(*best)]


def stated(text: str) -> str | None:
    """Return what follows the last "answer is" or "answer:", without the rest of the sentence."""
    anchor = _last(_STATED, text)
    if anchor is None:
        return None
    rest = text[anchor.end() :].lstrip()
    if math := _INLINE_MATH.match(rest):
        return math["dollar"] or math["paren"]
    end = _SENTENCE_END.search(rest)
    return (rest[: end.start()] if end else rest).strip("* \t")


def hashes(text: str) -> str | None:
    """Return what follows the last ``####`` on its line."""
    _, mark, rest = text.rpartition("####")
    return rest.lstrip(" \t").split("\n", 1)[0] if mark else None


def last_number(text: str) -> str | None:
    """Return the last integer, decimal or fraction of numbers."""
    found = _last(_NUMBER, text)
    return found[0] if found else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


_RULES: dict[AnswerStyle, tuple[Callable[[str], str | None], ...]] = {
    "boxed": (boxed,),
    "stated": (boxed, stated, hashes),
    "last_number": (boxed, stated, hashes, last_number),
}


def extract(completion: str, style: AnswerStyle = "stated") -> str | None:
    """Return the final answer as it was written, or None if the completion holds none (or an empty one)."""
    tail = completion[-READ_CHARACTERS:]
    for rule in _RULES[style]:
        found = rule(tail)
        if found is not None:
            return found.strip() or None
    return None


def clean(answer: str) -> str:
    r"""Write an answer the one way that is compared: no math marks, one kind of ``%`` and of space, no full stop."""
    text = _MATH_MARKS.sub("", answer).replace(r"\%", "%").replace("~", " ")
    return _THIN_SPACE.sub("", " ".join(text.split())).rstrip(".,;: \\")
