"""Progress of a stage while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """How far a stage of a task has come.

    Attributes:
        stage: The stage.
        task: Short name of the task.
        done: Completions that exist, those of earlier runs too.
        of: Completions in all.
        asked: Completions that this run worked on.
        failed: Those of `asked` that failed.
        tokens: Tokens sampled in this run.
        seconds: Since the stage started.
    """

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
