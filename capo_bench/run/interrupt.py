"""Ctrl-C and SIGTERM while trials run: the first asks for a stop that can be resumed, the second ends at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Context that counts signals instead of raising; enter it in the main thread.

    Attributes:
        count: Signals so far.
        signal: The first one, or None.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the first signal: 130 for Ctrl-C, 143 for SIGTERM; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal

    def fileno(self) -> int:
        """Descriptor that becomes readable at a signal, so that a loop asleep in `wait` wakes."""
        return self._read

    def clear(self) -> None:
        """Take what made the descriptor readable."""
        os.read(self._read, 4096)

    def __enter__(self) -> Interrupts:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.signal = self.signal or number
        os.write(self._write, b"!")
