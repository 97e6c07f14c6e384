"""What a run is at: its events folded into counts, running trials and an estimate; for displays, and in a small file.

The ledger tells what has happened, the file what is happening: stage, task and step of every running trial, and what is
being prepared. It is replaced at most once a second. A run that ends takes it away; one that crashed leaves it, and
with it what it was at.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from capo_bench.store.ledger import Record, StudyState

AGAIN = "waiting for its retry"


@dataclass
class Running:
    """A trial at work, or between two tries.

    `had` is the share of training that was done before the first step seen in this run: a resumed trial had it, and a
    new try keeps it, so that steps done twice count once. `spent` is the share of a budget that ends training before
    its last step.
    """

    variant: str
    seed: int
    since: float = 0.0
    attempt: int = 1
    stage: str = "starting"
    task: str = ""
    step: int = 0
    of: int = 0
    had: float = 0.0
    spent: float = 0.0
    outcome: float | None = None

    def on_step(self, event: Record) -> None:
        """Take a step event."""
        metrics, begins = event.get("metrics", {}), not self.of
        self.step, self.of = event["step"], event["of"]
        self.spent = min(1.0, metrics.get("budget_share") or 0.0)
        if begins:
            self.had = self.share * (self.step - 1) / self.step
        outcome = metrics.get("outcome")
        self.outcome = outcome if outcome is not None and math.isfinite(outcome) else self.outcome

    def on_stage(self, stage: str, task: str = "") -> None:
        """Take a stage event."""
        self.stage, self.task = stage, task

    @property
    def share(self) -> float:
        """Share of training that is done, 0 to 1."""
        return max(self.step / self.of, self.spent) if self.of else 0.0

    @property
    def gained(self) -> float:
        """Share of training that this run has done."""
        return max(0.0, self.share - self.had)

    def left(self, length: float, now: float) -> float:
        """Return the seconds to its end, if such a trial takes `length` seconds."""
        if self.of and self.share < 1:
            return length * (1 - self.share)
        return max(0.0, length - (now - self.since))


@dataclass
class Making:
    """A model in the making that trials share."""

    first: int
    since: float
    step: int
    of: int

    def left(self, now: float) -> float | None:
        """Return the estimated seconds to its end; None while there is nothing to go by."""
        steps = self.step - self.first
        return (now - self.since) / steps * (self.of - self.step) if steps > 0 else None


@dataclass
class Countdown:
    """The time left as it is shown: it runs down by the clock and moves to a new estimate little by little.

    Estimates change at once where another basis for them is found, as when the first trial ends.
    """

    shown: float | None = None
    at: float = 0.0

    def show(self, estimate: float | None, now: float) -> float | None:
        """Return the seconds to show at a time, given the estimate made at it; None where there is none."""
        if estimate is None or self.shown is None:
            self.shown = estimate
        else:
            passed = now - self.at
            expected = max(0.0, self.shown - passed)
            slowness = min(SMOOTH_SECONDS, max(1.0, estimate / 5))
            self.shown = expected + (1 - math.exp(-passed / slowness)) * (estimate - expected)
        self.at = now
        return self.shown


SMOOTH_SECONDS = 30.0
"""After so long at most, and a fifth of what is left, the time shown has gone two thirds of the way to an estimate."""


@dataclass
class Board:
    """State of one run.

    Attributes:
        pending: Trials to do in this run.
        had: Trials that were done before.
        to_do: Variant of each trial that has not been started yet; may be left empty.
        lengths: Seconds of finished trials, by variant, earlier runs among them.
        guesses: Estimated seconds of a trial, by variant, used until one of that variant has finished; may be empty.
        running: The trials at work, by id.
        making: The shared models in the making, by title.
        serving: Since when each critic's server that trials wait for is started.
    """

    pending: int
    had: int = 0
    clock: Callable[[], float] = time.monotonic
    to_do: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, list[float]] = field(default_factory=dict)
    guesses: dict[str, float] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    retried: int = 0
    policy_tokens: int = 0
    critic_tokens: int = 0
    running: dict[str, Running] = field(default_factory=dict)
    making: dict[str, Making] = field(default_factory=dict)
    serving: dict[str, float] = field(default_factory=dict)
    _started: float | None = None
    _lanes: int = 1
    _countdown: Countdown = field(default_factory=Countdown)

    def on(self, event: Record) -> None:
        """Take an event of the runner."""
        kind, trial = event["event"], event.get("trial", "")
        if kind == "workers":
            self._lanes = event["count"]
        elif kind == "trial_started":
            self._start(trial, event)
        elif kind in ("trial_done", "trial_failed", "trial_stopped"):
            self._end(kind, trial, event)
        elif kind == "preparing":
            self._prepare(event)
        elif kind == "prepared":
            self.making.pop(event["model"], None)
        elif kind == "critic_server":
            self._serve(event)
        elif trial in self.running:
            self._move(kind, self.running[trial], event)

    def _start(self, trial: str, event: Record) -> None:
        now, before = self.clock(), self.running.get(trial)
        self._started = now if self._started is None else self._started
        self.to_do.pop(trial, None)
        if before is None:
            self.running[trial] = Running(event["variant"], event["seed"], now)
        else:
            before.attempt += 1
            before.on_stage("starting")
        at_work = sum(running.stage != AGAIN for running in self.running.values()) + len(self.making)
        self._lanes = max(self._lanes, at_work)

    def _end(self, kind: str, trial: str, event: Record) -> None:
        ended = self.running.pop(trial, None)
        self.to_do.pop(trial, None)  # it may fail before it was started
        self.done += kind == "trial_done"
        self.failed += kind == "trial_failed"
        # What was begun in an earlier run or try took longer than this end tells.
        if kind == "trial_done" and ended and ended.attempt == 1 and not ended.had and event.get("seconds"):
            self.lengths.setdefault(ended.variant, []).append(event["seconds"])

    def _prepare(self, event: Record) -> None:
        begun = Making(event["step"], self.clock(), event["step"], event["of"])
        making = self.making.setdefault(event["model"], begun)
        making.step, making.of = event["step"], event["of"]

    def _serve(self, event: Record) -> None:
        if event["state"] == "starting":
            self.serving[event["critic"]] = self.clock()
        else:
            self.serving.pop(event["critic"], None)

    def _move(self, kind: str, trial: Running, event: Record) -> None:
        if kind == "step":
            trial.on_step(event)
            metrics = event.get("metrics", {})
            self.policy_tokens += int(metrics.get("policy_tokens") or 0)
            self.critic_tokens += int(metrics.get("critic_tokens") or 0)
        elif kind == "stage":
            trial.on_stage(event["stage"], event.get("task") or "")
        elif kind == "trial_retried":
            self.retried += 1
            trial.on_stage(AGAIN)

    def seconds_left(self) -> float | None:
        """Return the estimated seconds to the end; None while there is nothing to go by.

        The expected seconds of all pending trials are divided by the number of jobs that run at a time. Without an
        expectation, the estimate uses the steps of this run so far, and before any step those of the shared models.
        """
        makings = [left for made in self.making.values() if (left := made.left(self.clock())) is not None]
        if self._started is None and not makings:
            return None
        trials = self._lefts()
        if trials is not None:
            return max(sum(trials + makings) / self._lanes, *trials, *makings, 0.0)
        if self._started is None:
            return max(makings)
        left = self._left_by_steps(self.clock() - self._started)
        return None if left is None else max([left, *makings])

    def _lefts(self) -> list[float] | None:
        """Return the expected seconds of each pending trial; None where nothing is expected."""
        expected = self._expected()
        if not expected or len(self.to_do) != self.pending - self.done - self.failed - len(self.running):
            return None
        usual = fmean(expected.values())
        running = [trial.left(expected.get(trial.variant, usual), self.clock()) for trial in self.running.values()]
        return running + [expected.get(variant, usual) for variant in self.to_do.values()]

    def _expected(self) -> dict[str, float]:
        """Return the expected seconds of a trial, by variant: the mean of finished trials, else the scaled guess.

        Guesses were measured on another machine: they are multiplied by how much longer finished trials took.
        """
        means = {variant: fmean(lengths) for variant, lengths in self.lengths.items() if lengths}
        scales = [mean / self.guesses[variant] for variant, mean in means.items() if self.guesses.get(variant)]
        scale = fmean(scales) if scales else 1.0
        return {**{variant: seconds * scale for variant, seconds in self.guesses.items()}, **means}

    def _left_by_steps(self, worked: float) -> float | None:
        """Return the estimated seconds of the trials that are pending, `worked` seconds after the first began."""
        gained = self.done + self.failed + sum(trial.gained for trial in self.running.values())
        left = self.pending - self.done - self.failed - sum(trial.share for trial in self.running.values())
        return worked / gained * max(0.0, left) if gained > 0 else None

    def headline(self) -> str:
        """Return the counts in words."""
        parts = [f"{self.had + self.done}/{self.had + self.pending} trials done"]
        parts += [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{self.retried} retried"] * bool(self.retried)
        parts += [f"{model}, step {made.step}/{made.of}" for model, made in self.making.items()]
        now = self.clock()
        parts += [f"critic {model} is loading, {duration(now - since)}" for model, since in self.serving.items()]
        left = self._countdown.show(self.seconds_left(), now) if self.running or self.making else None
        parts += [f"about {duration(left)} left"] if left is not None and left >= 1 else []
        return " · ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return what one who looks from outside is told, as plain values."""
        now = self.clock()
        making = [
            {"model": model, "step": made.step, "of": made.of, "seconds_left": made.left(now)}
            for model, made in self.making.items()
        ]
        trials = {
            trial: {
                **{
                    name: getattr(running, name)
                    for name in ("variant", "seed", "attempt", "stage", "task", "step", "of")
                },
                "outcome": running.outcome,
                "seconds": round(now - running.since, 3),
            }
            for trial, running in self.running.items()
        }
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": 0.0 if self._started is None else round(now - self._started, 3),
            "done": self.done,
            "seconds_left": self._countdown.show(self.seconds_left(), now),
            "policy_tokens": self.policy_tokens,
            "critic_tokens": self.critic_tokens,
            "preparing": making,
            "trials": trials,
        }


def lengths_of(state: StudyState) -> dict[str, list[float]]:
    """Return the seconds of the finished trials in a ledger, by variant; one that another study ran is not in it."""
    lengths: dict[str, list[float]] = {}
    for entry in state.trials.values():
        if entry.state == "done" and entry.seconds:
            lengths.setdefault(entry.variant, []).append(entry.seconds)
    return lengths


def duration(seconds: float) -> str:
    """Return seconds in words: ``42 s``, ``3 min``, ``2 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


EVERY_SECONDS = 1.0


class LiveState:
    """An observer of a run that writes the board, which somebody else keeps up to date, to a file.

    A context, at whose end the file is gone.
    """

    def __init__(self, path: Path, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._board, self._clock = path, board, clock
        self._last = -EVERY_SECONDS

    def __enter__(self) -> LiveState:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def on(self, event: Record) -> None:
        """Write, if the last time is long enough ago."""
        if self._clock() - self._last >= EVERY_SECONDS:
            self._last = self._clock()
            # Not synced: after a power cut nobody asks what was running. A full disk must not end the run.
            with suppress(OSError):
                part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                part.write_text(json.dumps(self._board.as_json()), encoding="utf-8")
                part.replace(self._path)


def read_live(path: Path) -> dict[str, Any]:
    """Return what the file says; empty where there is none or it cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
