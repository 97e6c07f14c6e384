"""Errors in a study, collected and reported together.

An error names the file and line, the value, the rule and the way out. Reading a study continues after an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capo_bench.store.errors import RunError


@dataclass(frozen=True)
class Place:
    """A file as the user named it with a line number from 1, or an option such as ``"--set credit.vote=union"``."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class StudyError:
    """One error in a study: its place, the value and the rule that it breaks, and the way out."""

    place: Place
    rule: str
    way_out: str

    def __str__(self) -> str:
        gap = " " if self.way_out.startswith("(") else "; "
        return f"{self.place}: {self.rule}{gap if self.way_out else ''}{self.way_out}"


class StudyErrors(RunError):  # noqa: N818 - it carries many errors, each a StudyError
    """All errors of one or more studies without duplicates, in the order of files and lines."""

    def __init__(self, items: Sequence[StudyError]) -> None:
        self.items: list[StudyError] = []
        seen = set()
        for item in sorted(items, key=lambda item: (item.place.file, item.place.line or 0)):
            if str(item) not in seen:
                seen.add(str(item))
                self.items.append(item)
        super().__init__(self.items)

    def __str__(self) -> str:
        return "\n".join(str(item) for item in self.items)


def format_value(value: object) -> str:
    """Return a value as text for an error message, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
