"""What a run is at right now, for who looks from outside: one small file, replaced at most once a second.

The ledger tells what has happened, this file what is happening: stage, task and step of every running trial, and what
is being prepared. A run that ends takes it away; one that crashed leaves it, and with it what it was at.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from capo_bench.run.board import Board
from capo_bench.store.ledger import Record

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
