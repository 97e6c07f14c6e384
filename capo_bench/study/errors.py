"""Everything wrong with a study, collected and told at once.

An error names the file and line, the value, the rule and the way out. Reading a study never stops at the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capo_bench.store.errors import RunError


@dataclass(frozen=True)
class Place:
    """A file as the user named it and a line from 1; or an option, ``"--set credit.vote=union"``, without one."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class StudyError:
    """One thing wrong with a study: where, the value and the rule that it breaks, and what to do about it."""

    place: Place
    rule: str
    way_out: str

    def __str__(self) -> str:
        gap = " " if self.way_out.startswith("(") else "; "
        return f"{self.place}: {self.rule}{gap if self.way_out else ''}{self.way_out}"


class StudyErrors(RunError):  # noqa: N818 - it carries many errors, each a StudyError
    """All errors of one study or of several, in the order of files and lines, each once."""

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


def shown(value: object) -> str:
    """Return a value as an error shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
