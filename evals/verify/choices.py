"""Multiple choice: the letter that a completion chooses. Text only."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.verify import answers
from evals.verify.text import make_key, read_words

NO_OPTION = "?"
"""Stands for an answer that is none of the options."""

_STATED = re.compile(r"\b(?:answer|option|choice)\s*(?:is\s*:?|:)", re.IGNORECASE)
_LETTER = re.compile(r"(?:(?:option|choice|answer)\s*)?(?:\(([a-z])\)|([a-z]))[.,;:)]?", re.IGNORECASE)
_LED = re.compile(
    r"(?:(?:option|choice)\s+)?(?:\(([A-Za-z])\)|([A-Z])\s*[.:)](?=\s)|([A-Z])\s+[-–—](?=\s))\s*(?P<rest>.*)", re.DOTALL
)
_IN_PARENTHESES = re.compile(r"\(([A-Z])\)")


def choose(completion: str, style: answers.AnswerStyle, options: Sequence[str]) -> tuple[str, str] | None:
    """Return (answer as written, letter) of a completion; None if it chooses nothing.

    A letter is read from the last box, else (by style) from the last "answer is" that names an option, a last line
    that is a letter, and ``####``. The letter is `NO_OPTION` where the answer is no option's letter or text.
    """
    tail = answers.read_tail(completion)
    boxed = answers.read_boxed(tail)
    if boxed is not None:
        return (boxed.strip(), find_letter(boxed, options) or NO_OPTION) if boxed.strip() else None
    if style == "boxed":
        return None
    choice = _find_stated(tail, options) or _read_last_line(tail)
    if choice is None and style == "last_number":
        marks = _IN_PARENTHESES.findall(tail)
        return (marks[-1], marks[-1]) if marks else None
    return choice


def find_letter(answer: str, options: Sequence[str]) -> str | None:
    """Return the letter of an answer: itself, the letter before a text, or that of the only option with its words."""
    bare = re.sub(
        r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|bf|rm)(?![A-Za-z])\s*\{?|[*`$}]|\\[()]", " ", answer
    ).replace("~", " ")
    bare = " ".join(bare.split()).strip()
    named, worded = _LETTER.fullmatch(bare), _match_words(answer, options)
    if named and (worded is None or ord((named[1] or named[2]).upper()) - ord("A") < len(options)):
        return (named[1] or named[2]).upper()
    if worded is not None:
        return worded
    if led := _LED.fullmatch(bare):
        return (led[1] or led[2] or led[3]).upper()
    return None


def _match_words(answer: str, options: Sequence[str]) -> str | None:
    """Return the letter of the only option so worded; capitals decide where two differ in nothing else (``Bb``)."""
    for worded in (str.strip, read_words, make_key):
        wanted = worded(answer)
        same = [index for index, text in enumerate(options) if wanted and worded(text) == wanted]
        if len(same) == 1:
            return chr(ord("A") + same[0])
    return None


def _find_stated(text: str, options: Sequence[str]) -> tuple[str, str] | None:
    """Return what the last "answer is" that names an option says, or what the last one says if none does."""
    last = None
    for anchor in reversed(list(_STATED.finditer(text))[-20:]):
        rest = text[anchor.end() : anchor.end() + 2000].lstrip(" \t\n*:")
        line = rest.split("\n", 1)[0].strip()
        sentence = re.split(r"(?<=[^A-Z(])\.(?:\s|$)", line, maxsplit=1)[0].strip()
        for phrase in (line, sentence, *re.findall(r"\A\S+?(?=[.,;:]?(?:\*\*)?(?:\s|$))", _check_leading(line))):
            if phrase and (option := find_letter(phrase, options)):
                return phrase, option
        last = last or ((sentence, NO_OPTION) if sentence else None)
    return last


def _check_leading(line: str) -> str:
    """Return the line if its first word can only be an option's letter, not the article "A" or the pronoun "I"."""
    first = re.match(r"(?:\*\*|\$|\\\()*(?:\([A-Za-z]\)|[B-HJ-Z](?=[\s.,;:*)$]|$)|[AI](?=[.,;:*)]|$))", line)
    return line if first else ""


def _read_last_line(text: str) -> tuple[str, str] | None:
    line = text.rstrip().rsplit("\n", 1)[-1].lstrip("# ").strip()
    named = _LETTER.fullmatch(re.sub(r"[*`$]", "", line).strip())
    return (line, (named[1] or named[2]).upper()) if named else None
