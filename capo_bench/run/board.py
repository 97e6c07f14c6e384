"""What a progress display shows: the run's events folded into counts, running trials and an estimate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from capo_bench.run.ledger import Record


@dataclass
class Running:
    """A trial at work. `first` is the step before the first one seen, which a resumed trial had already."""

    variant: str
    seed: int
    stage: str = "starting"
    step: int = 0
    of: int = 0
    first: int = 0
    outcome: float | None = None

    def on_step(self, event: Record) -> None:
        """Take a step event."""
        if not self.of:
            self.first = event["step"] - 1
        self.step, self.of = event["step"], event["of"]
        self.outcome = event.get("metrics", {}).get("outcome", self.outcome)

    @property
    def share(self) -> float:
        """Share of the training steps that are done, 0 to 1."""
        return self.step / self.of if self.of else 0.0

    @property
    def gained(self) -> float:
        """Share of the training steps that this run has done."""
        return (self.step - self.first) / self.of if self.of else 0.0


@dataclass
class Board:
    """State of one run.

    Attributes:
        owed: Trials to do in this run.
        had: Trials that were done before.
        clock: Seconds, monotonic.
    """

    owed: int
    had: int = 0
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    running: dict[str, Running] = field(default_factory=dict)
    preparing: str = ""
    _started: float | None = None

    def on(self, event: Record) -> None:
        """Take an event of the runner."""
        kind, trial = event["event"], event.get("trial", "")
        if kind == "trial_started":
            self._started = self.clock() if self._started is None else self._started
            self.preparing = ""
            self.running[trial] = Running(event["variant"], event["seed"])
        elif kind in ("trial_done", "trial_failed", "trial_stopped"):
            self.running.pop(trial, None)
            self.done += kind == "trial_done"
            self.failed += kind == "trial_failed"
        elif kind == "preparing":
            self.preparing = f"{event['model']}, step {event['step']}/{event['of']}"
        elif trial in self.running and kind == "step":
            self.running[trial].on_step(event)
        elif trial in self.running and kind == "stage":
            self.running[trial].stage = " ".join([event["stage"], *filter(None, [event.get("task")])])

    def seconds_left(self) -> float | None:
        """Return the estimated seconds to the end; None while there is nothing to go by."""
        gained = self.done + self.failed + sum(trial.gained for trial in self.running.values())
        left = self.owed - self.done - self.failed - sum(trial.share for trial in self.running.values())
        if self._started is None or gained <= 0:
            return None
        return (self.clock() - self._started) / gained * max(0.0, left)

    def headline(self) -> str:
        """Return the counts in words."""
        parts = [f"{self.had + self.done}/{self.had + self.owed} trials done"]
        parts += [f"{self.failed} failed"] * bool(self.failed)
        parts += [self.preparing] * bool(self.preparing)
        left = self.seconds_left()
        parts += [f"about {duration(left)} left"] if left is not None and self.running else []
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds in words: ``42 s``, ``3 min``, ``2 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
