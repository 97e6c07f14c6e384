"""Whether problems of an evaluation stand among the rows that a model is trained on.

Two texts overlap if they share 13 words or numbers in a row, whatever the case and the signs between them: the length
that GPT-3 chose (arXiv 2005.14165, appendix C) and that the field has kept (lm-eval's decontamination, Qwen2.5-Math).
Shorter ones are shared by phrases of the trade ("how many of them are left at the end of the day"), longer ones miss a
problem of which one number was changed. A problem of fewer than 13 words overlaps only where it is whole and alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

LENGTH = 13
"""Words and numbers in a row."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_BLANK = re.compile(r"[\s$]+")


def find_overlaps(training: Iterable[str], problems: Mapping[str, str]) -> dict[str, int]:
    """Return which problems share words with a training text, and the index of the first such text.

    Returns:
        Id of a problem to the index of a training text.
    """
    owners: dict[str, list[str]] = {}
    for name, text in problems.items():
        for part in _parts(text, alone=False):
            owners.setdefault(part, []).append(name)
    overlaps: dict[str, int] = {}
    for number, text in enumerate(training):
        for part in _parts(text, alone=True):
            for name in owners.get(part, ()):
                overlaps.setdefault(name, number)
    return overlaps


def _parts(text: str, *, alone: bool) -> Iterator[str]:
    """Yield every run of `LENGTH` words of a text; the text itself where it is shorter, or with `alone` in any case."""
    words = _WORD.findall(text.lower())
    if alone or len(words) < LENGTH:
        yield f"={_BLANK.sub('', text.lower())}"
    for start in range(len(words) - LENGTH + 1):
        yield " ".join(words[start : start + LENGTH])
