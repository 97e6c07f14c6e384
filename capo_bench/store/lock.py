"""Locks that a crash releases: the kernel drops a `flock` with its process, whatever ended it."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from capo_bench.store.errors import RunError, StudyLockedError

# `status` holds the lock for an instant to see whether it is free; a run that meets it tries again.
_TRIES = 5


@contextmanager
def study_lock(path: Path, what: str = "study") -> Iterator[None]:
    """Hold the lock file `path` for one run of a study, or of `what` else lies in its folder.

    Raises:
        StudyLockedError: Another process holds it; the message says who, where and since when.
        RunError: The file cannot be made.
    """
    handle = _open(path)
    try:
        _take(path, handle, what)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)  # nobody holds it
    finally:
        os.close(handle)


@contextmanager
def wait_for_lock(path: Path, stop: Callable[[], bool], waiting: Callable[[], None]) -> Iterator[bool]:
    """Hold the lock file `path`, waiting for its holder; yields False if `stop` became true before it was free.

    Args:
        path: The lock file; made if it is not there.
        stop: Asked about twice a second while waiting.
        waiting: Called once if the lock is not free at once.
    """
    handle = _open(path)
    try:
        held = _try_lock(handle)
        if not held:
            waiting()
        while not held and not stop():
            time.sleep(0.5)
            held = _try_lock(handle)
        if held and not _still_there(path, handle):  # its folder was deleted: others lock the file that is there now
            with wait_for_lock(path, stop, waiting) as held:
                yield held
            return
        yield held
    finally:
        os.close(handle)


def locked(path: Path) -> bool:
    """Whether a live process holds the lock file `path`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try_lock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _take(path: Path, handle: int, what: str) -> None:
    if not any(_try_lock(handle, wait=attempt > 0) for attempt in range(_TRIES)):
        raise StudyLockedError(_refusal(path, os.pread(handle, 4096, 0), what))
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}).encode()
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, holder, 0)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}; free space or choose another --home") from error


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}; give --home a folder you can write") from error


def _try_lock(handle: int, kind: int = fcntl.LOCK_EX, *, wait: bool = False) -> bool:
    if wait:
        time.sleep(0.1)
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _refusal(path: Path, data: bytes, what: str) -> str:
    try:
        holder = json.loads(data)
        who = f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        way_out = f"wait for it, or stop it with: kill -INT {holder['pid']}"
    except (ValueError, KeyError, TypeError):
        who, way_out = "another process", "wait for it to end"
    return f"{path.parent}: this {what} is being run by {who}; {way_out}"
