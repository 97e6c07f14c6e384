"""Progress of a stage while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """How far a stage of a task has come; `done` counts earlier runs too, all that follows `of` is this run's."""

    stage: Literal["generate", "score"]
    task: str
    done: int
    of: int
    asked: int = 0
    failed: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds for the rest at this run's pace; None before the first batch."""
        return (self.of - self.done) * self.seconds / self.asked if self.asked else None


Tell = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Report nothing."""
