"""The state of a study, read from the ledger, the finished trials on disk, the lock and the live file of a run.

It only reads files, so any process can use it while the study runs.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from capo_bench.run.board import read_live
from capo_bench.store.home import Home, StudyFolder
from capo_bench.store.ledger import Ledger, TrialEntry, fold
from capo_bench.store.lock import Holder, read_holder

State = Literal["done", "running", "failed", "stopped", "pending"]
STATES: tuple[State, ...] = ("done", "running", "failed", "stopped", "pending")

NEWS_SECONDS = 60.0
"""A run on another machine, whose lock may be invisible here, counts as alive if its live file is not older."""


@dataclass(frozen=True)
class TrialStatus:
    """The current state of a trial.

    Attributes:
        trial: Id of the trial.
        state: A `stopped` trial can be resumed from a checkpoint; a `pending` trial has not started in this study. A
            trial that waits for its retry is `running`.
        entry: Last ledger entry of the trial.
        now: Live fields from the run: ``stage``, ``task``, ``step``, ``of``, ``outcome``, ``attempt``, ``seconds``.
            Empty if the trial does not run or there are no fields yet. After a crash, the last fields of that run.
    """

    trial: str
    state: State
    entry: TrialEntry
    now: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyStatus:
    """The current state of a study.

    Attributes:
        trials: Trials of the plan that was started last, or of the requested ids, in the plan's order.
        seconds_left: Estimated seconds left of the current run.
        an_hour: Trials per hour of the current run.
        tokens: Tokens per second in training, of ``policy`` and ``critic``; empty if unknown.
        preparing: The shared models that are being made, each with ``model``, ``step``, ``of``, ``seconds_left``.
        failure: The trial that failed last, in this or an earlier run, even if its retry succeeded.
    """

    name: str
    profile: str
    holder: Holder | None
    trials: tuple[TrialStatus, ...]
    seconds_left: float | None = None
    an_hour: float | None = None
    tokens: Mapping[str, float] = field(default_factory=dict)
    preparing: Sequence[Mapping[str, Any]] = ()
    failure: TrialStatus | None = None

    @property
    def running(self) -> bool:
        """Whether a process runs the study."""
        return self.holder is not None

    def counts(self) -> dict[State, int]:
        """Return the number of trials in each state; all states are included."""
        counts = Counter(trial.state for trial in self.trials)
        return {state: counts[state] for state in STATES}

    @property
    def retried(self) -> int:
        """Number of retries of the trials in all runs."""
        return sum(trial.entry.retries for trial in self.trials)


def read_study_status(
    home: Home, study: str, profile: str | None = None, ids: Sequence[str] | None = None
) -> StudyStatus:
    """Return the state of a study: of the plan that was started last, or of the trials with these ids.

    Raises:
        RunError: The ledger cannot be read.
    """
    folder = home.study(study)
    # Read these first: if the run ends after this, the ledger already contains all of its results.
    holder, now = find_holder(folder), read_live(folder.now)
    state = fold(Ledger(folder.ledger).read())
    wanted = state.plan if ids is None else ids
    at = _read_live_trials(now)
    trials = tuple(_make_trial_status(home, trial, state.trials.get(trial), holder is not None, at) for trial in wanted)
    failure = (
        None if state.failed is None else _make_trial_status(home, state.failure, state.failed, holder is not None, {})
    )
    named = profile or state.profile
    if holder is None:
        return StudyStatus(study, named, None, trials, failure=failure)
    seconds, left, lasted = (
        _convert_to_number(now.get("seconds")),
        now.get("seconds_left"),
        _count_seconds_since(state.started),
    )
    return StudyStatus(
        name=study,
        profile=named,
        holder=holder,
        trials=trials,
        seconds_left=None
        if left is None
        else round(max(0.0, _convert_to_number(left) - _count_seconds_since(now.get("time"))), 1),
        an_hour=round(state.ended / lasted * 3600, 2) if lasted and state.ended else None,
        tokens={who: _convert_to_number(now.get(f"{who}_tokens")) / seconds for who in ("policy", "critic")}
        if seconds
        else {},
        preparing=now.get("preparing", ()),
        failure=failure,
    )


def list_started_studies(home: Home) -> Iterator[str]:
    """Yield the names of the studies that have a ledger in `home`."""
    for ledger in sorted(home.path.glob("studies/*/ledger.jsonl")):
        yield ledger.parent.name


def _make_trial_status(
    home: Home, trial: str, entry: TrialEntry | None, running: bool, at: Mapping[str, Mapping[str, Any]]
) -> TrialStatus:
    state = _find_state(home, trial, entry, running)
    return TrialStatus(
        trial, state, entry or TrialEntry("started"), at.get(trial, {}) if state in ("running", "stopped") else {}
    )


def _find_state(home: Home, trial: str, entry: TrialEntry | None, running: bool) -> State:
    if home.trial(trial).done:
        return "done"
    if entry is None or entry.state == "done":  # done before, but its folder was deleted
        return "pending"
    if entry.state in ("started", "retried"):  # without a running process, the trial was interrupted
        return "running" if running else "stopped"
    return "failed" if entry.state == "failed" else "stopped"


def find_holder(folder: StudyFolder) -> Holder | None:
    """Return the process that holds the study's lock, if there is one."""
    holder = read_holder(folder.lock)
    if holder is None or holder.checked:
        return holder
    # A lock on a shared disk may be invisible here, but a run deletes its live file at its end.
    return holder if holder.host != platform.node() and _is_fresh(folder.now) else None


def _is_fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < NEWS_SECONDS
    except OSError:
        return False


def _read_live_trials(now: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the live fields of a run's trials, with `seconds` updated to the current time."""
    since = _count_seconds_since(now.get("time"))
    trials = now.get("trials")
    if not isinstance(trials, dict):
        return {}
    return {
        trial: {**fields, "seconds": round(_convert_to_number(fields.get("seconds")) + since, 1)}
        for trial, fields in trials.items()
        if isinstance(fields, dict)
    }


def _count_seconds_since(moment: object) -> float:
    """Return the seconds since a UTC time; 0 if the time is missing."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _convert_to_number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
