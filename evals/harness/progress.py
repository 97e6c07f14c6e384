"""Describe the progress of a running stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """Progress of a stage of a task; `done` includes earlier runs, the fields after `of` describe this run alone."""

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
        """Estimated seconds for the rest at this run's speed; None before the first batch."""
        return (self.of - self.done) * self.seconds / self.asked if self.asked else None


Tell = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """Report nothing."""
