"""Where a study stands: the ledger, the finished trials on disk, the lock and what a run says of itself, read together.

Only files are read, so it can be asked from any process while the study runs.
"""

from __future__ import annotations

import json
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
from capo_bench.store.lock import locked

State = Literal["done", "running", "failed", "stopped", "pending"]
STATES: tuple[State, ...] = ("done", "running", "failed", "stopped", "pending")

NEWS_SECONDS = 60.0
"""A run on another machine, whose lock cannot be seen from here, is believed to go on if its news is not older."""


@dataclass(frozen=True)
class Holder:
    """Who runs a study: a process, its machine, and since when (UTC).

    `checked`: it was seen to live; of a process on another machine only its news can be read.
    """

    pid: int
    host: str
    since: str
    checked: bool


@dataclass(frozen=True)
class TrialStatus:
    """A trial now.

    Attributes:
        trial: Its id.
        state: `stopped` can be resumed from a checkpoint; `pending` has not been started in this study. A trial that is
            about to be tried again is `running`.
        entry: What the ledger last says of it.
        now: What the run says that it is at: ``stage``, ``task``, ``step``, ``of``, ``outcome``, ``attempt``,
            ``seconds``; empty where it does not run, or nothing has been said yet. Of a run that crashed, the last.
    """

    trial: str
    state: State
    entry: TrialEntry
    now: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyStatus:
    """A study now; `trials` are those of the plan that was last started, or of the ids asked for, in the plan's order.

    Attributes:
        seconds_left: Estimate of the run that goes on.
        an_hour: Trials that it has done an hour.
        tokens: Tokens a second in training, of ``policy`` and ``critic``; empty where nothing is known.
        preparing: The shared models that are being made: ``model``, ``step``, ``of``, ``seconds_left`` each.
        failure: The trial that failed last, now or in an earlier run, also one that was tried again and did better.
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
        """Whether a runner is at work."""
        return self.holder is not None

    def counts(self) -> dict[State, int]:
        """Return the number of trials in each state, all states named."""
        counts = Counter(trial.state for trial in self.trials)
        return {state: counts[state] for state in STATES}

    @property
    def retried(self) -> int:
        """How often trials were tried again, in all runs."""
        return sum(trial.entry.retries for trial in self.trials)


def study_status(home: Home, study: str, profile: str | None = None, ids: tuple[str, ...] | None = None) -> StudyStatus:
    """Return where a study stands: the plan that was last started, or the trials of these ids.

    Raises:
        RunError: The ledger cannot be read.
    """
    folder = home.study(study)
    # First of all: a run that ends meanwhile has then put all it did into the ledger.
    holder, now = holder_of(folder), read_live(folder.now)
    state = fold(Ledger(folder.ledger).read())
    wanted = state.plan if ids is None else ids
    at = _trials(now)
    trials = tuple(_trial(home, trial, state.trials.get(trial), holder is not None, at) for trial in wanted)
    failure = None if state.failed is None else _trial(home, state.failure, state.failed, holder is not None, {})
    named = profile or state.profile
    if holder is None:
        return StudyStatus(study, named, None, trials, failure=failure)
    seconds, left, lasted = _number(now.get("seconds")), now.get("seconds_left"), _since(state.started)
    return StudyStatus(
        name=study,
        profile=named,
        holder=holder,
        trials=trials,
        seconds_left=None if left is None else round(max(0.0, _number(left) - _since(now.get("time"))), 1),
        an_hour=round(state.ended / lasted * 3600, 2) if lasted and state.ended else None,
        tokens={who: _number(now.get(f"{who}_tokens")) / seconds for who in ("policy", "critic")} if seconds else {},
        preparing=now.get("preparing", ()),
        failure=failure,
    )


def started_studies(home: Home) -> Iterator[str]:
    """Yield the names of the studies that have a ledger in `home`."""
    for ledger in sorted(home.path.glob("studies/*/ledger.jsonl")):
        yield ledger.parent.name


def _trial(
    home: Home, trial: str, entry: TrialEntry | None, running: bool, at: Mapping[str, Mapping[str, Any]]
) -> TrialStatus:
    state = _state(home, trial, entry, running)
    return TrialStatus(
        trial, state, entry or TrialEntry("started"), at.get(trial, {}) if state in ("running", "stopped") else {}
    )


def _state(home: Home, trial: str, entry: TrialEntry | None, running: bool) -> State:
    if home.trial(trial).done:
        return "done"
    if entry is None or entry.state == "done":  # done once, but its folder is gone
        return "pending"
    if entry.state in ("started", "retried"):  # without a runner: that one died
        return "running" if running else "stopped"
    return "failed" if entry.state == "failed" else "stopped"


def holder_of(folder: StudyFolder) -> Holder | None:
    """Return who holds the study's lock, if someone does."""
    lock = folder.path / "lock"
    held = locked(lock)
    try:
        record = json.loads(lock.read_bytes())
        holder = Holder(int(record["pid"]), str(record["host"]), str(record["since"]), held)
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(0, "", "", True) if held else None
    # A lock on a shared disk may not be seen from here; a run takes its news away when it ends.
    return holder if held or (holder.host != platform.node() and _fresh(folder.now)) else None


def _fresh(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < NEWS_SECONDS
    except OSError:
        return False


def _trials(now: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return what a run says of its trials, seconds brought up to this moment."""
    since = _since(now.get("time"))
    trials = now.get("trials")
    if not isinstance(trials, dict):
        return {}
    return {
        trial: {**fields, "seconds": round(_number(fields.get("seconds")) + since, 1)}
        for trial, fields in trials.items()
        if isinstance(fields, dict)
    }


def _since(moment: object) -> float:
    """Return the seconds since a moment in UTC; 0 where there is none."""
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
