"""Cutting a completion into steps (paper: at blank lines).

A segmenter is a pure function from a text to the character spans of its steps. The spans partition the text: every
character lies in exactly one step, a separator in the step before it, a leading separator in the first step. No step
is only whitespace, so a critic never sees an empty numbered step; the one exception is a text that is itself empty or
only whitespace, which is one step, so that every completion has a step for its tokens (the end-of-sequence token at
least).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from evals.registry import Registry

Span = tuple[int, int]
Segmenter = Callable[[str], list[Span]]

_BLANK_LINES = re.compile(r"\n\s*\n")
_LINE_ENDS = re.compile(r"\n")


def blank_lines(text: str) -> list[Span]:
    r"""Cut after every run of line breaks that holds a blank line (``\n\n``, ``\n  \n``, ``\r\n\r\n``)."""
    return spans_of(text, (match.end() for match in _BLANK_LINES.finditer(text)))


def lines(text: str) -> list[Span]:
    """Cut after every line."""
    return spans_of(text, (match.end() for match in _LINE_ENDS.finditer(text)))


def spans_of(text: str, cuts: Iterable[int]) -> list[Span]:
    """Turn cuts into spans that partition the text.

    A part that is only whitespace joins the step before it, or the step after it when it leads.

    Args:
        text: The text to cut.
        cuts: Ascending character positions; a cut at ``c`` ends a step before character ``c``.

    Returns:
        At least one span; the first starts at 0, each starts where the one before ends, the last ends at the text's
        length.
    """
    bounds = [0, *cuts, len(text)]
    # A step starts where a part says something; what is blank after it stays with it.
    starts = [start for start, end in pairwise(bounds) if text[start:end].strip()]
    return list(pairwise([0, *starts[1:], len(text)]))


def step_texts(text: str, spans: Sequence[Span]) -> tuple[str, ...]:
    """Return the text of each step as a critic reads it, without the whitespace around it."""
    return tuple(text[start:end].strip() for start, end in spans)


SEGMENTERS: Registry[Segmenter] = Registry(
    "segmenter",
    "capo_bench.segmenters",
    {"blank_lines": "trainers.credit.segment:blank_lines", "lines": "trainers.credit.segment:lines"},
)
