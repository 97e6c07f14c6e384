"""The live state of a run: counts, running trials and an estimate of the time left, for displays and a small file.

The ledger records what has happened; the live file says what is happening now: the stage, task and step of each running
trial, and the shared models that are being made. The file is replaced at most once a second. A run deletes it at its
end; a run that crashes leaves it behind, with its last state.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
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
    """A trial that is running or waits for its retry.

    Attributes:
        had: Share of training that was done before the first step of this run. A resumed trial has such a share, and a
            retry keeps it, so repeated steps are counted once.
        spent: Used share of a budget that may end training before the last step.
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
        """Update the trial with a step event."""
        metrics, begins = event.get("metrics", {}), not self.of
        self.step, self.of = event["step"], event["of"]
        self.spent = min(1.0, metrics.get("budget_share") or 0.0)
        if begins:
            self.had = self.share * (self.step - 1) / self.step
        outcome = metrics.get("outcome")
        self.outcome = outcome if outcome is not None and math.isfinite(outcome) else self.outcome

    def on_stage(self, stage: str, task: str = "") -> None:
        """Update the trial with a stage event."""
        self.stage, self.task = stage, task

    @property
    def share(self) -> float:
        """Share of training that is done, from 0 to 1."""
        return max(self.step / self.of, self.spent) if self.of else 0.0

    @property
    def gained(self) -> float:
        """Share of training that was done in this run."""
        return max(0.0, self.share - self.had)

    def as_json(self, now: float) -> dict[str, Any]:
        """Return what the trial is at as plain values, for displays and readers outside this process."""
        named = ("variant", "seed", "attempt", "stage", "task", "step", "of", "outcome")
        return {**{name: getattr(self, name) for name in named}, "seconds": round(now - self.since, 3)}

    def left(self, length: float, now: float) -> float:
        """Return the seconds until the trial ends, given that such a trial takes `length` seconds."""
        if self.of and self.share < 1:
            return length * (1 - self.share)
        return max(0.0, length - (now - self.since))


@dataclass
class Making:
    """A shared model that is being made."""

    first: int
    since: float
    step: int
    of: int

    def left(self, now: float) -> float | None:
        """Return the estimated seconds until the model is made; None before the first new step."""
        steps = self.step - self.first
        return (now - self.since) / steps * (self.of - self.step) if steps > 0 else None


@dataclass
class Countdown:
    """The displayed time left: it counts down with the clock and moves gradually to each new estimate.

    Without this, the display would jump when the basis of the estimate changes, for example when the first trial ends.
    """

    shown: float | None = None
    at: float = 0.0

    def show(self, estimate: float | None, now: float) -> float | None:
        """Return the seconds to display at time `now`, given the estimate of that time; None without an estimate."""
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
"""Longest time constant of the displayed time, in seconds; it is otherwise a fifth of the estimate, at least 1 s.

After one time constant the displayed time has moved about two thirds of the way to a new estimate.
"""


@dataclass
class Board:
    """State of one run.

    Attributes:
        to_do: Variant of each trial that has not started yet, by id; at first those of all trials to run.
        had: Number of trials that were done before the run.
        lengths: Seconds of finished trials, by variant, including those of earlier runs.
        guesses: Estimated seconds of a trial, by variant, used until a trial of the variant has finished; may be empty.
        running: The running trials, by id.
        making: The shared models that are being made, by title.
        serving: Start time of each critic server that trials wait for, by model.
    """

    to_do: dict[str, str]
    had: int = 0
    clock: Callable[[], float] = time.monotonic
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

    def __post_init__(self) -> None:
        """Count the trials of the plan."""
        self.planned = self.had + len(self.to_do)

    def on(self, event: Record) -> None:
        """Update the board with an event of the runner."""
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
        self.to_do.pop(trial, None)  # a trial can fail before it starts
        self.done += kind == "trial_done"
        self.failed += kind == "trial_failed"
        # The event's duration covers only the last attempt of this run: resumed and retried trials took longer.
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
        """Return the estimated seconds until the run ends; None without a basis for an estimate.

        The expected seconds of all pending trials and shared models are divided by the number of jobs that run in
        parallel. A variant without an expected duration takes as long as the others, or as this run's steps suggest.
        """
        now = self.clock()
        models = [left for made in self.making.values() if (left := made.left(now)) is not None]
        if self._started is None and not models:
            return None
        expected = self._estimate_durations()
        usual = fmean(expected.values()) if expected else self._estimate_by_steps(now)
        if usual is None:
            return max(models, default=None)
        running = [trial.left(expected.get(trial.variant, usual), now) for trial in self.running.values()]
        jobs = [*running, *models, *(expected.get(variant, usual) for variant in self.to_do.values())]
        return max(sum(jobs) / self._lanes, *jobs, 0.0)

    def _estimate_durations(self) -> dict[str, float]:
        """Return the expected seconds of a trial, by variant: the mean of finished trials, else the scaled guess.

        The guesses were measured on another machine. They are scaled by the mean ratio of finished trials to their
        guesses.
        """
        means = {variant: fmean(lengths) for variant, lengths in self.lengths.items() if lengths}
        scales = [mean / self.guesses[variant] for variant, mean in means.items() if self.guesses.get(variant)]
        scale = fmean(scales) if scales else 1.0
        return {**{variant: seconds * scale for variant, seconds in self.guesses.items()}, **means}

    def _estimate_by_steps(self, now: float) -> float | None:
        """Return the estimated seconds of a trial from the steps of this run so far; None before the first."""
        gained = self.done + self.failed + sum(trial.gained for trial in self.running.values())
        return None if self._started is None or not gained else (now - self._started) * self._lanes / gained

    def headline(self) -> str:
        """Return the counts and the time left as one line of text."""
        parts = [f"{self.had + self.done}/{self.planned} trials done"]
        parts += [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{self.retried} retried"] * bool(self.retried)
        parts += [f"{model}, step {made.step}/{made.of}" for model, made in self.making.items()]
        now = self.clock()
        parts += [f"critic {model} is loading, {format_duration(now - since)}" for model, since in self.serving.items()]
        left = self._countdown.show(self.seconds_left(), now) if self.running or self.making else None
        parts += [f"about {format_duration(left)} left"] if left is not None and left >= 1 else []
        return " · ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Return the state as plain values, for readers outside this process."""
        now = self.clock()
        making = [
            {"model": model, "step": made.step, "of": made.of, "seconds_left": made.left(now)}
            for model, made in self.making.items()
        ]
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds": 0.0 if self._started is None else round(now - self._started, 3),
            "done": self.done,
            "seconds_left": self._countdown.show(self.seconds_left(), now),
            "policy_tokens": self.policy_tokens,
            "critic_tokens": self.critic_tokens,
            "preparing": making,
            "trials": {trial: running.as_json(now) for trial, running in self.running.items()},
        }


def list_lengths(state: StudyState) -> dict[str, list[float]]:
    """Return the seconds of finished trials in a ledger, by variant; trials that other studies ran are excluded."""
    lengths: dict[str, list[float]] = {}
    for entry in state.trials.values():
        if entry.state == "done" and entry.seconds:
            lengths.setdefault(entry.variant, []).append(entry.seconds)
    return lengths


def describe_position(trial: Mapping[str, Any]) -> str:
    """Describe what a running trial is at, from the values of `Running.as_json`: ``train, try 2, step 3/40``."""
    words = [" ".join(filter(None, [trial.get("stage"), trial.get("task")]))]
    words += [f"try {trial['attempt']}"] if trial.get("attempt", 1) > 1 else []
    if trial.get("of") and trial.get("stage") in ("starting", "train", AGAIN):
        words.append(f"step {trial['step']}/{trial['of']}")
    words += [] if trial.get("outcome") is None else [f"outcome {trial['outcome']:.2f}"]
    return ", ".join(words)


def format_duration(seconds: float) -> str:
    """Return a duration as text: ``42 s``, ``3 min``, ``2 h 05 min``, and from three days on ``4 days``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes < 3 * 24 * 60 else f"{seconds / 86400:.0f} days"


EVERY_SECONDS = 1.0


class LiveState:
    """An observer of a run that writes a board to a file. Another observer updates the board.

    It is a context manager; the file is deleted when the context ends.
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
        """Write the file if the last write is at least `EVERY_SECONDS` ago."""
        if self._clock() - self._last >= EVERY_SECONDS:
            self._last = self._clock()
            # Not synced to disk: the live state is worthless after a power failure. A full disk must not end the run.
            with suppress(OSError):
                part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                part.write_text(json.dumps(self._board.as_json()), encoding="utf-8")
                part.replace(self._path)


def read_live(path: Path) -> dict[str, Any]:
    """Return the content of the live file; empty if it does not exist or cannot be read."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
