"""Where a study stands: the ledger, the finished trials on disk and the lock, read together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from capo_bench.home import Home
from capo_bench.run.ledger import Ledger, TrialEntry, fold
from capo_bench.run.lock import locked

State = Literal["done", "running", "failed", "stopped", "owed"]
STATES: tuple[State, ...] = ("done", "running", "failed", "stopped", "owed")


@dataclass(frozen=True)
class TrialStatus:
    """A trial now. `stopped` can be resumed from a checkpoint; `owed` has not been started in this study."""

    trial: str
    state: State
    entry: TrialEntry


@dataclass(frozen=True)
class StudyStatus:
    """A study now; `trials` are those of the plan that was last started, or of the ids asked for."""

    name: str
    profile: str
    running: bool
    trials: tuple[TrialStatus, ...]

    def counts(self) -> dict[State, int]:
        """Return the number of trials in each state, all states named."""
        found = Counter(trial.state for trial in self.trials)
        return {state: found[state] for state in STATES}


def study_status(home: Home, study: str, profile: str | None = None, ids: tuple[str, ...] | None = None) -> StudyStatus:
    """Return where a study stands.

    Args:
        home: The results folder.
        study: Name of the study.
        profile: Its profile; None: the one that was last started.
        ids: Trials to tell of; None: those of the plan that was last started.

    Raises:
        RunError: The ledger cannot be read.
    """
    folder = home.study(study)
    state = fold(Ledger(folder.ledger).read())
    running = locked(folder.path / "lock")
    trials = []
    for trial in state.plan if ids is None else ids:
        entry = state.trials.get(trial)
        now = _state(home, trial, entry, running)
        trials.append(TrialStatus(trial, now, entry or TrialEntry("started")))
    return StudyStatus(study, profile or state.profile, running, tuple(trials))


def started_studies(home: Home) -> Iterator[str]:
    """Yield the names of the studies that have a ledger in `home`."""
    for ledger in sorted(home.path.glob("studies/*/ledger.jsonl")):
        yield ledger.parent.name


def _state(home: Home, trial: str, entry: TrialEntry | None, running: bool) -> State:
    if home.trial(trial).done:
        return "done"
    if entry is None or entry.state == "done":  # done once, but its folder is gone
        return "owed"
    if entry.state == "started":  # without a runner: that one died
        return "running" if running else "stopped"
    return entry.state
