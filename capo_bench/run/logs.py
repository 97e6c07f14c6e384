"""Rotate log files while processes write to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from capo_bench.process.contexts import call_repeatedly

LIMIT = 10 * 2**20
_LOOK_SECONDS = 0.5
_BLOCK = 2**20


def rotate(log: Path, limit: int = LIMIT) -> None:
    """Move the content of a log to ``NAME.1`` if it exceeds `limit` bytes, after moving ``NAME.1`` to ``NAME.2``.

    The file itself is truncated, not renamed, because processes and C libraries hold it open for appending. If the log
    is many times larger than the limit, only its last `limit` bytes are kept.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size <= limit:
            return
        with suppress(FileNotFoundError):
            _name_numbered_log(log, 1).replace(_name_numbered_log(log, 2))
        with log.open("rb") as source, _name_numbered_log(log, 1).open("wb") as target:
            source.seek(-limit, os.SEEK_END)
            while block := source.read(_BLOCK):
                target.write(block)
                if target.tell() >= limit:
                    break
        os.truncate(log, 0)


@contextmanager
def rotate_regularly(log: Path, limit: int = LIMIT) -> Iterator[None]:
    """Rotate a log regularly while the context is open."""

    def look() -> None:
        with suppress(OSError):
            rotate(log, limit)

    try:
        with call_repeatedly(_LOOK_SECONDS, look):
            yield
    finally:
        look()


def _name_numbered_log(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
