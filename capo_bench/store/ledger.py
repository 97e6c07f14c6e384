r"""The events of a study's trials, one JSON record per line, appended and never rewritten.

A record is written with one ``write`` and synced, so that after any crash the file contains complete records and at
most one torn line at its end. A torn line never parses, because a record's last byte closes it; readers skip it, its
trial is pending again, and the next record overwrites it. A record ends with a checksum of its other fields, ``check``.
A record that was damaged later is skipped, and `damaged` names it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from capo_bench.store.errors import RunError

Record = dict[str, Any]
_DIGITS = 12
TrialState = Literal["started", "retried", "done", "failed", "stopped"]
Event = Literal[
    "study_started", "trial_started", "trial_retried", "trial_done", "trial_failed", "trial_stopped", "study_finished"
]


@dataclass(frozen=True)
class Ledger:
    """The ledger at `path`; the file need not exist. One process appends at a time, any number can read."""

    path: Path

    def read(self) -> list[Record]:
        """Return the complete records, oldest first; empty if there is no ledger yet.

        Raises:
            RunError: The file exists but cannot be read.
        """
        return [record for line in self._data().split(b"\n") if (record := _parse(line)) is not None]

    def damaged(self) -> list[str]:
        """Return a sentence for each line that is damaged, with its place and the way out.

        Raises:
            RunError: The file exists but cannot be read.
        """
        lines = self._data().split(b"\n")[:-1]
        return [
            f"{self.path}:{number}: damaged, and passed over; its trial's own files say what was done: delete the line"
            for number, line in enumerate(lines, 1)
            if _parse(line) is None
        ]

    def _data(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise RunError(f"{self.path}: cannot read the ledger: {error.strerror}; check its permissions") from error

    def append(self, event: Event, **fields: object) -> Record:
        """Write one record durably and return it: ``{"event", "time" (UTC, ISO 8601), **fields}``.

        Raises:
            RunError: It could not be written completely (disk full, read-only, no permission).
        """
        record = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
        try:
            self._append_line(_encode_line(record))
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot record {event!r}: {error.strerror}; free space or make the folder writable, "
                "then run again: finished trials are kept"
            ) from error
        return record

    def _append_line(self, line: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            line = _cut_torn_end(handle) + line
            written = os.write(handle, line)
            if written != len(line):
                raise OSError(None, f"only {written} of {len(line)} bytes were written, the disk is probably full")
            os.fsync(handle)
        finally:
            os.close(handle)


def _cut_torn_end(handle: int) -> bytes:
    """Cut off a torn last line; return the bytes with which the next record must begin."""
    data = os.pread(handle, os.fstat(handle).st_size, 0)
    start = data.rfind(b"\n") + 1
    if _parse(data[start:]) is not None:  # only its line end is missing
        return b"\n"
    os.ftruncate(handle, start)
    return b""


def _encode_line(record: Record) -> bytes:
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    check = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    return f'{text[:-1]}, "check": "{check}"}}\n'.encode()


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
        record.pop("check")
        whole = line == _encode_line(record)[:-1] and isinstance(record["event"], str)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if whole else None


@dataclass
class TrialEntry:
    """The last entry of the ledger about a trial.

    Attributes:
        state: Its last event. A trial that is `retried` failed and waits for its next attempt.
        error: Reason of the failure, if it failed last.
        attempt: Number of the attempt, from 1; it starts again when a later run starts the trial.
        retries: Number of retries in all runs.
        seconds: Seconds of the attempts that were stopped or done.
        time: Time of the record, in UTC.
    """

    state: TrialState
    variant: str = ""
    seed: int = 0
    error: str = ""
    log: str = ""
    attempt: int = 1
    retries: int = 0
    seconds: float = 0.0
    time: str = ""


@dataclass
class StudyState:
    """The state that a ledger's records lead to.

    Attributes:
        profile: Profile of the last run.
        plan: Ids of the trials of the last run.
        trials: Last entry of each trial of any run.
        finished: Record of the end, if the last run finished its plan.
        started: Start of the last run, in UTC.
        ended: Number of trials that the last run has done.
        failure: Id of the trial that failed last, in any run, even if it was tried again.
        failed: Entry of that failure.
    """

    profile: str = ""
    plan: list[str] = field(default_factory=list)
    trials: dict[str, TrialEntry] = field(default_factory=dict)
    finished: Record | None = None
    started: str = ""
    ended: int = 0
    failure: str = ""
    failed: TrialEntry | None = None


def fold(records: Iterable[Record]) -> StudyState:
    """Return the state that records lead to; events of a newer version are ignored."""
    state = StudyState()
    for record in records:
        event, trial = record["event"], record.get("trial")
        if event == "study_started":
            state.profile, state.plan, state.finished = record["profile"], record["plan"], None
            state.started, state.ended = record.get("time", ""), 0
        elif event == "study_finished":
            state.finished = record
        elif event in _TRIAL_EVENTS and isinstance(trial, str):
            entry = state.trials[trial] = _build_entry(_TRIAL_EVENTS[event], record, state.trials.get(trial))
            state.ended += entry.state == "done"
            if entry.state in ("failed", "retried"):
                state.failure, state.failed = trial, entry
    return state


_TRIAL_EVENTS: dict[str, TrialState] = {f"trial_{state}": state for state in get_args(TrialState)}


def _build_entry(state: TrialState, record: Record, before: TrialEntry | None) -> TrialEntry:
    before = before or TrialEntry("stopped")
    again = state == "started" and before.state == "retried"
    return TrialEntry(
        state=state,
        variant=record.get("variant", ""),
        seed=record.get("seed", 0),
        error=record.get("error", ""),
        log=record.get("log", ""),
        attempt=before.attempt + 1 if again else 1 if state == "started" else before.attempt,
        retries=before.retries + (state == "retried"),
        seconds=before.seconds + (record.get("seconds", 0.0) if state in ("stopped", "done") else 0.0),
        time=record.get("time", ""),
    )
