"""Parse a critic's reply into a verdict or the reason why there is none. Any text is parsed, in linear time.

The rules apply in this order. Nothing is guessed from prose; a reply without a verdict by these rules is an abstention.

1. A truncated reply has no verdict (`truncated`).
2. Quoted lines (first mark ``>``) are somebody else's words and never count. Thinking (up to the last ``</think>``)
   does not count; thinking that never ends has no verdict (`no_list`). Repeated examples of the instructions do not
   count. If nothing is left, the reply is `empty`.
3. A verdict line starts with its label, ``Wrong steps:`` or ``Answer:``, in any case and behind any markdown, or it
   starts like JSON and contains the label as a quoted key. Only the last such line counts, even if it cannot be parsed.
4. ``Wrong steps`` is followed by a list of indices from 1 in brackets, over several lines if needed, or without
   brackets on the label's own line, or by ``none``. An index is a whole number in digits 0-9, alone or as ``step 2``.
   Indices are separated by commas, semicolons, spaces or ``and``. Only punctuation, or a remark in parentheses without
   digits, may follow on the line. No later line may start with an index in brackets or contain only an index: the list
   would continue there. A fraction, a range, a nested list or any other word makes the list invalid (`no_list`).
5. An index outside 1 to the number of steps, or of more than nine digits, discards the whole critique
   (`out_of_range`). Duplicates merge.
6. ``Answer`` is followed by ``right``, ``correct``, ``wrong`` or ``incorrect``, and then only by what rule 4 allows.
7. Without a verdict line, a text that declines is a `refusal`, any other text is `no_list`.

For replies in another format, rules 1, 2 and 7 apply; `trainers.credit.replies` defines the rest.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from trainers.credit.critique import Abstention, Aim
from trainers.credit.prompt import EXAMPLES
from trainers.credit.replies import REPLIES, ReplyName

_MARKS = r"[\s*_`\"'~$]*+"
# What may precede a label: markdown, a tag, the number of a list item.
_LEAD = r"(?:[\s*_`\"'~$#|{(•+-]++|<[^<>\s]{1,40}>|\d{1,3}[.)])*+"
_NAMES = {"steps": r"wrong[ _-]?step(?:s|\(s\))?", "answer": r"(?:final )?answer"}
_LABEL = {aim: re.compile(rf"{_LEAD}{name}{_MARKS}(?:[:=]|(?=\[)){_MARKS}") for aim, name in _NAMES.items()}
_KEY = {aim: re.compile(rf"(?<!\\)([\"']){name}\1\s*:\s*") for aim, name in _NAMES.items()}
_JSON = re.compile(r"[\s`]*+[{\"']")
_HINT = {"steps": "wrong", "answer": "answer"}

_QUOTED = re.compile(rf"{_LEAD}>")
_THINKING = re.compile(r"<(/?)(?:think|thinking|thought)>")
_END = re.compile(r"[\s.;!*_`\"'~$|})]*+(?:\([^()\[\]\d]{0,200}\))?(?:[\s.;!*_`\"'~$|})]++|<[^<>\s]{1,40}>)*+")
_KEY_END = re.compile(r"\s*(?:}.*|,\s*(?:[\"'].*)?)?")
_MORE = re.compile(r"\n[ \t]*+(?:\[[ \t]*+\d|(?:[-*+•][ \t]++)?(?:steps?[ \t]*+)?#?\d{1,9}[.,;)]?[ \t]*+(?:\n|$))")
_WORD = re.compile(r"[a-z/]+")
_EMPHASIS = r"[*_`\"'$]*+"
_INDEX = rf"{_EMPHASIS}(?:steps?\s*+)?#?{_EMPHASIS}-?[0-9]++{_EMPHASIS}"
_INDICES = re.compile(rf"\s*+{_INDEX}(?:(?:[\s,;&]|and(?=\s))++{_INDEX})*+[\s,;]*")
_NUMBER = re.compile(r"-?[0-9]+")
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_NONE = ("none", "null", "n/a")
_ANSWERS = {
    "right": frozenset[int](),
    "correct": frozenset[int](),
    "wrong": frozenset({0}),
    "incorrect": frozenset({0}),
}

# Full-width forms, curly quotes and invisible characters, which models of other languages write.
_PLAIN: dict[int, int | str | None] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0xAD)),
    0xA0: " ",
    0x3001: ",",
    0x3002: ".",
    0x201C: '"',
    0x201D: '"',
    0x2018: "'",
    0x2019: "'",
}

_REFUSAL = re.compile(
    r"\bi(?:'m| am) (?:sorry|unable|not able)\b|\bas an ai\b|\bi (?:must |have to )?(?:decline|refuse)\b"
    r"|\bi (?:can't|cannot|can not|won't|will not) (?:help|assist|comply|continue|do|judge|evaluate|provide|fulfil"
    r"|review|answer|analy[sz]e|check)"
)


class _Verdict(NamedTuple):
    """The text after the last label, to the end of the reply; `key` is True if the label was a JSON key."""

    rest: str
    key: bool


def parse(
    text: str, aim: Aim, steps: int, *, truncated: bool = False, reply: ReplyName = "list"
) -> frozenset[int] | Abstention:
    """Parse a critique. Never raises.

    Args:
        text: What the critic wrote.
        aim: What it was asked.
        steps: Number of the solution's steps.
        truncated: Whether a token limit cut the text.
        reply: The reply format that the critic was asked for.

    Returns:
        Indices (from 0) of the wrong steps, all below `steps`. For the aim "answer": {0} if the answer is wrong, else
        the empty set. If there is no verdict: the reason.
    """
    if truncated:
        return "truncated"
    boxed = REPLIES.get(reply) if aim == "steps" else None
    lines = _select_own_lines(text.replace(boxed.example if boxed else EXAMPLES[aim], ""))
    if isinstance(lines, str):
        return lines
    if boxed:
        read = boxed.read(lines, steps)
        return "refusal" if read == "no_list" and any(map(_REFUSAL.search, lines)) else read
    verdict = _find_last_verdict(lines, aim)
    if verdict is None:
        return "refusal" if any(map(_REFUSAL.search, lines)) else "no_list"
    return _read_answer(verdict) if aim == "answer" else _read_steps(verdict, steps)


def _select_own_lines(text: str) -> list[str] | Abstention:
    """Return the critic's own lines after its thinking, in lower case."""
    plain = (text if text.isascii() else text.translate(_PLAIN)).lower()
    lines = plain.splitlines()
    if ">" in plain:
        lines = _drop_thinking("\n".join(line for line in lines if not _QUOTED.match(line))).splitlines()
    return lines if any(map(str.strip, lines)) else "empty"


def _drop_thinking(text: str) -> str:
    """Return the text after the last end of thinking; if the thinking does not end, return its opening tag only."""
    *_, closed, rest = ("/", *_THINKING.split(text))
    return rest if closed else "<think>"


def _find_last_verdict(lines: list[str], aim: Aim) -> _Verdict | None:
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if _HINT[aim] not in line:
            continue
        label = _LABEL[aim].match(line)
        # A label in the middle of prose does not count: there it repeats somebody else's words.
        keys = list(_KEY[aim].finditer(line)) if _JSON.match(line) else []
        key = keys[-1] if keys else None
        opening = key or label
        if opening is not None:
            return _Verdict("\n".join((line[opening.end() :], *lines[number + 1 :])), key is not None)
    return None


def _read_steps(verdict: _Verdict, steps: int) -> frozenset[int] | Abstention:
    listed = _read_list(verdict)
    return "no_list" if listed is None else _read_indices(listed, steps)


def _read_list(verdict: _Verdict) -> str | None:
    """Return the content of the list, blank for an empty list; None if there is no valid list."""
    rest = verdict.rest.lstrip(" \t*`_\"'~$\n")
    closing = _CLOSING.get(rest[:1])
    if closing is not None:
        inside, closed, after = rest[1:].partition(closing)
        return inside if closed and _is_end(after, verdict.key) and not _MORE.search(after) else None
    if _MORE.search(rest):
        return None
    line = rest.partition("\n")[0]
    word = _WORD.match(line)
    if word is not None and word[0] in _NONE:
        return "" if _is_end(line[word.end() :], verdict.key) else None
    inside, remark, after = verdict.rest.partition("\n")[0].partition("(")
    bare = inside.rstrip(" \t.;!*`_\"'~$|})")
    return bare if bare[-1:].isdigit() and _is_end(remark + after, key=False) else None


def _is_end(after: str, key: bool) -> bool:
    line = after.partition("\n")[0]
    return (_KEY_END if key else _END).fullmatch(line) is not None


def _read_indices(listed: str, steps: int) -> frozenset[int] | Abstention:
    if not listed.strip() or listed.strip() in _NONE:
        return frozenset()
    if _INDICES.fullmatch(listed) is None:
        return "no_list"
    numbers = _NUMBER.findall(listed)
    if any(len(number) > 9 or not 1 <= int(number) <= steps for number in numbers):
        return "out_of_range"
    return frozenset([int(number) - 1 for number in numbers])


def _read_answer(verdict: _Verdict) -> frozenset[int] | Abstention:
    line = verdict.rest.lstrip(" \t*`_\"'~$\n").partition("\n")[0]
    word = _WORD.match(line)
    if word is None or word[0] not in _ANSWERS or not _is_end(line[word.end() :].lstrip("\"'"), verdict.key):
        return "no_list"
    return _ANSWERS[word[0]]
