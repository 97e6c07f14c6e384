"""Cut a completion into steps (paper: at blank lines).

A segmenter is a pure function from a text to the character spans of its steps. The spans partition the text: every
character belongs to exactly one step, a separator to the step before it, and a leading separator to the first step. No
step contains only whitespace, so a critic never sees an empty numbered step. The exception is a text that is itself
empty or only whitespace: it is one step, so that every completion has a step for its tokens (at least the
end-of-sequence token).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from operator import itemgetter

from evals.registry import Registry

Span = tuple[int, int]
Segmenter = Callable[[str], list[Span]]

_BLANK_LINES = re.compile(r"\n\s*\n")
_BLOCK_MARKS = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)|(?<!\\)(?P<dollars>\$\$)|(?<!\\)\\(?P<bracket>[\[\]])"
    r"|\\(?P<side>begin|end)\{(?P<name>[a-z]{1,20}\*?)\}",
    re.MULTILINE,
)
_LINE_ENDS = re.compile(r"\n")
_WORDS = re.compile(r"\S+")

_STEP_MARKS = re.compile(
    r"""^[ \t]*(?:
        (?:\#{1,6}[ \t]*(?:\*\*|__)?|\*\*|__)step[ \t]+[0-9]{1,3}\b    # ### Step 3, **Step 3**
        |step[ \t]+[0-9]{1,3}[ \t]*(?:[:.)\-\u2013\u2014]|$)              # Step 3:
        |(?:\#{1,6}[ \t]*)?(?:\*\*|__)?[0-9]{1,3}[.)](?=\s|\*\*|__|$)  # 3. or 3)
    )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)

# The word before it identifies a factorial, the other stops identify an ellipsis. Quotation marks, brackets and the end
# of a formula may follow.
_STOPS = re.compile(
    r"""(?:(?<!\.)\.(?!\.)|\?|(?<=[^\W\d_]{2})!)(?P<closed>(?:\s*\\[\])]|["'\u201d\u2019)\]*_$])*)\s+"""
)
_BEFORE_NO_END = re.compile(
    r"""(?:
        (?:^|\n)[ \t>*_#\-]*(?:(?:step|case|part)[ \t]+)?(?:[0-9]{1,3}|[a-z]|[ivx]{2,4})  # the mark of a list
        |(?<![^\W_])(?:e\.g|i\.e|w\.r\.t|cf|vs|etc|resp|approx|figs?|eqs?|thm|mr|mrs|dr|prof)
    )\Z""",
    re.IGNORECASE | re.VERBOSE,
)
_LOOK_BACK = 64
_FORMULAS = re.compile(
    r"\\begin\{[a-z]+\*?\}.{1,1000}?\\end\{"
    r"|\\\(.{1,1000}?\\\)|\\\[.{1,1000}?\\\]|\$\$.{1,1000}?\$\$|(?<![\\$])\$(?=\S)[^$\n]{1,500}(?<=\S)\$(?![0-9])",
    re.DOTALL,
)


def blank_lines(text: str) -> list[Span]:
    r"""Cut after every run of line breaks that contains a blank line (``\n\n``, ``\n  \n``, ``\r\n\r\n``).

    Blank lines within a closed block of code or a closed displayed formula do not end a step.
    """
    return cut_spans(text, _find_paragraph_ends(text))


def _find_paragraph_ends(text: str) -> list[int]:
    blocks = list(_find_blocks(text))
    return [blank.end() for blank in _BLANK_LINES.finditer(text) if not _holds(blocks, blank.start())]


def _holds(blocks: Sequence[Span], start: int, end: int | None = None) -> bool:
    """Return whether one of some ascending spans holds what begins at `start` and ends before `end`."""
    place = bisect_right(blocks, start, key=itemgetter(0)) - 1
    return place >= 0 and (start if end is None else end) < blocks[place][1]


def _find_blocks(text: str) -> Iterator[Span]:
    r"""Yield the spans of closed fences, ``$$…$$``, ``\[…\]`` and ``\begin…\end``.

    What follows a fence on its line opens a block of code and closes none; a longer fence closes a shorter one.
    """
    marks = list(_BLOCK_MARKS.finditer(text))
    closing: dict[str, dict[int, list[int]]] = {}  # what closes a block, and how long its fence is: where it stands
    for mark in marks:
        if mark["side"] != "begin" and mark["bracket"] != "[" and not (mark["info"] or "").strip():
            kind, size = _read_block_kind(mark)
            closing.setdefault(kind, {}).setdefault(size, []).append(mark.start())
    free_from = 0
    for mark in marks:
        if mark["side"] == "end" or mark["bracket"] == "]" or mark.start() < free_from:
            continue
        kind, size = _read_block_kind(mark)
        ends = [
            places[place]
            for length, places in closing.get(kind, {}).items()
            if length >= size and (place := bisect_right(places, mark.start())) < len(places)
        ]
        if ends:
            free_from = min(ends) + 1
            yield mark.start(), min(ends)


def _read_block_kind(mark: re.Match[str]) -> tuple[str, int]:
    """Return what closes a block, and how long its fence is."""
    fence = mark["fence"] or ""
    return fence[:1] or mark["dollars"] or (mark["bracket"] and "[]") or mark["name"], len(fence)


def lines(text: str) -> list[Span]:
    """Cut after every line."""
    return cut_spans(text, (match.end() for match in _LINE_ENDS.finditer(text)))


def sentences(text: str) -> list[Span]:
    r"""Cut after every sentence and at blank lines; a sentence never continues after a blank line.

    A sentence ends with a full stop, a question mark or an exclamation mark before whitespace. It does not end within a
    formula (``$…$``, ``\(…\)``, ``\[…\]``, ``\begin…\end``) or a closed block of code, at an ellipsis, a factorial,
    the mark of a list item ("1.", "Step 2.") or an abbreviation ("e.g.", "i.e.", "etc."). In doubt the text is not cut:
    two sentences in one step are still judged.
    """
    return cut_spans(text, sorted({*_find_paragraph_ends(text), *_find_sentence_ends(text)}))


def _find_sentence_ends(text: str) -> Iterator[int]:
    formulas, blocks = [match.span() for match in _FORMULAS.finditer(text)], list(_find_blocks(text))
    for stop in _STOPS.finditer(text):
        inside = any(_holds(spans, stop.start(), stop.end("closed")) for spans in (formulas, blocks))
        if not inside and not _BEFORE_NO_END.search(text[max(stop.start() - _LOOK_BACK, 0) : stop.start()]):
            yield stop.end()


def step_marks(text: str) -> list[Span]:
    """Cut before every line that starts with the mark of a step: "Step 3:", "**Step 3**", "### Step 3", "3." or "3)".

    The text before the first mark is a step of its own. A text without marks is one step. A mark in a closed block of
    code or displayed formula is part of it.
    """
    blocks = list(_find_blocks(text))
    marks = (match.start() for match in _STEP_MARKS.finditer(text))
    return cut_spans(text, (mark for mark in marks if not _holds(blocks, mark)))


def windows(size: int, text: str) -> list[Span]:
    """Cut after every `size` words, regardless of the content.

    Words are separated by whitespace. Unlike cuts at characters, these cuts never split a number or a command of LaTeX.
    Words also suit both kinds of text: a sum of coins ("12 + 7 = 19") has 5 words and a solution 26 to 36; in
    MATH-500's solutions the median sentence has 15 words and the median paragraph 33. In a script without spaces, each
    line is one word.

    Args:
        size: Words per step; the last step may have fewer.
        text: The text to cut.
    """
    words = [match.start() for match in _WORDS.finditer(text)]
    return cut_spans(text, words[size::size])


windows_8: Segmenter = partial(windows, 8)
windows_16: Segmenter = partial(windows, 16)
windows_32: Segmenter = partial(windows, 32)
windows_64: Segmenter = partial(windows, 64)


def cut_spans(text: str, cuts: Iterable[int]) -> list[Span]:
    """Turn cuts into spans that partition the text.

    A part that is only whitespace joins the step before it; at the start of the text it joins the step after it.

    Args:
        text: The text to cut.
        cuts: Ascending character positions; a cut at ``c`` ends a step before character ``c``.

    Returns:
        At least one span. The first starts at 0, each starts where the previous one ends, and the last ends at the
        text's length.
    """
    bounds = [0, *cuts, len(text)]
    # A step starts at a part that is not blank; blank parts after it belong to it.
    starts = [start for start, end in pairwise(bounds) if text[start:end].strip()]
    return list(pairwise([0, *starts[1:], len(text)]))


def list_step_texts(text: str, spans: Sequence[Span]) -> tuple[str, ...]:
    """Return the text of each step as a critic reads it, without the whitespace around it.

    A step that is cut within a line keeps one space at its end: the space shows that the line continues in the next
    step.
    """
    pieces = [text[start:end] for start, end in spans]
    within = [_cut_within_line(piece) for piece in pieces[:-1]]
    return tuple(piece.strip() + " " * goes_on for piece, goes_on in zip(pieces, [*within, False], strict=True))


def _cut_within_line(piece: str) -> bool:
    return "\n" not in piece[len(piece.rstrip()) :]


SEGMENTERS: Registry[Segmenter] = Registry(
    "segmenter",
    "capo_bench.segmenters",
    {
        name: f"trainers.credit.segment:{name}"
        for name in (
            *("blank_lines", "lines", "sentences", "step_marks"),
            *("windows_8", "windows_16", "windows_32", "windows_64"),
        )
    },
)
