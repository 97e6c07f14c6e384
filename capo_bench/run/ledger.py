r"""What happened to the trials of a study, one JSON record a line, appended and never rewritten.

A record is written with one ``write`` and synced, so that after any crash the file holds whole records and at most one
torn line at the place of the crash. A torn line never parses, because a record is closed by its last byte before the
line end; readers skip it, its trial is owed again, and the next record starts on a line of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from capo_bench.run.errors import RunError

Record = dict[str, Any]
Event = Literal["study_started", "trial_started", "trial_done", "trial_failed", "trial_stopped", "study_finished"]
TrialState = Literal["started", "done", "failed", "stopped"]


@dataclass(frozen=True)
class Ledger:
    """The ledger at `path`; the file need not exist. One process appends at a time (see `lock`), any number read."""

    path: Path

    def read(self) -> list[Record]:
        """Return the whole records, oldest first; empty if there is no ledger yet.

        Raises:
            RunError: The file is there but cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"{self.path}: cannot read the ledger: {error.strerror}; check its permissions") from error
        return [record for line in data.split(b"\n") if (record := _parse(line)) is not None]

    def append(self, event: Event, **fields: object) -> Record:
        """Write one record durably and return it: ``{"event", "time" (UTC, ISO 8601), **fields}``.

        Raises:
            RunError: It could not be written whole (disk full, read-only, no permission).
        """
        record = {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **fields}
        line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        try:
            self._append_line(line)
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
            data = b"\n" + line if _torn(handle) else line
            written = os.write(handle, data)
            if written != len(data):
                raise OSError(None, f"only {written} of {len(data)} bytes were written, the disk is probably full")
            os.fsync(handle)
        finally:
            os.close(handle)


def _torn(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return size > 0 and os.pread(handle, 1, size - 1) != b"\n"


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "event" in record else None


@dataclass
class TrialEntry:
    """What the ledger last says of a trial."""

    state: TrialState
    variant: str = ""
    seed: int = 0
    error: str = ""
    log: str = ""


@dataclass
class StudyState:
    """The ledger folded into the present: the plan last started, each trial's last state, whether a run finished it."""

    profile: str = ""
    plan: list[str] = field(default_factory=list)
    trials: dict[str, TrialEntry] = field(default_factory=dict)
    finished: Record | None = None


def fold(records: Iterable[Record]) -> StudyState:
    """Fold records into the state they lead to."""
    state = StudyState()
    for record in records:
        event = record["event"]
        if event == "study_started":
            state.profile, state.plan, state.finished = record["profile"], record["plan"], None
        elif event == "study_finished":
            state.finished = record
        elif event.startswith("trial_"):
            state.trials[record["trial"]] = TrialEntry(
                state=event.removeprefix("trial_"),
                variant=record.get("variant", ""),
                seed=record.get("seed", 0),
                error=record.get("error", ""),
                log=record.get("log", ""),
            )
    return state
