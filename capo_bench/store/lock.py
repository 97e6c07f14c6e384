"""Locks that a crash releases: the kernel releases a `flock` when its process ends."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from capo_bench.store.errors import RunError, StudyLockedError

_PATIENCE_SECONDS = 0.5
"""`status` holds the lock for an instant to check whether it is free; a run that meets it tries again."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock: its id, its machine, and since when (UTC).

    `checked` is True if the lock was seen to be held; the lock of a process on another machine may be invisible here.
    """

    pid: int
    host: str
    since: str
    checked: bool

    def __str__(self) -> str:
        """Return it as text."""
        return f"process {self.pid} on {self.host} since {self.since}"


@contextmanager
def hold_lock(path: Path, what: str = "study") -> Iterator[None]:
    """Hold the lock file `path` for one run of a study, or of `what` its folder contains.

    Raises:
        StudyLockedError: Another process holds it; the message names the process, its machine and the time.
        RunError: The file cannot be created or written.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    with wait_for_lock(path, lambda: time.monotonic() > end, lambda: None) as held:
        if not held:
            raise StudyLockedError(_build_refusal(path, what))
        since = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            path.write_text(json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}), encoding="utf-8")
        except OSError as error:
            raise RunError(
                f"{path}: cannot be written: {error.strerror}; free space or choose another --home"
            ) from error
        try:
            yield
        finally:
            with suppress(FileNotFoundError):  # its folder may be gone
                os.truncate(path, 0)  # the file names no holder


@contextmanager
def wait_for_lock(path: Path, stop: Callable[[], bool], waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock file `path`, which is created if it is missing, and wait for its holder.

    Calls `waiting` once if the lock is not free at once, and `stop` ten times a second until it is free; yields False
    if `stop` returned True first.
    """
    handle = _open(path)
    try:
        held = _try_lock(handle)
        if not held:
            waiting()
        while not held and not stop():
            time.sleep(0.1)
            held = _try_lock(handle)
        if held and not _is_still_there(path, handle):  # its folder was deleted: others lock the new file
            with wait_for_lock(path, stop, waiting) as held:
                yield held
            return
        yield held
    finally:
        os.close(handle)


def read_holder(path: Path) -> Holder | None:
    """Return the process that a lock file names, even if it does not hold the lock; None if the file names none.

    The pid is 0 if the lock is held and the file names no process.
    """
    held = is_locked(path)
    try:
        record = json.loads(path.read_bytes())
        return Holder(int(record["pid"]), str(record["host"]), str(record["since"]), held)
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(0, "", "", True) if held else None


def is_locked(path: Path) -> bool:
    """Whether a live process holds the lock file `path`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; give --home a folder you can write") from error


def _try_lock(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _build_refusal(path: Path, what: str) -> str:
    holder = read_holder(path)
    pid = 0 if holder is None else holder.pid
    way_out = f"wait for it, or stop it with: kill -INT {pid}" if pid else "wait for it to end"
    return f"{path.parent}: this {what} is being run by {holder if pid else 'another process'}; {way_out}"
