"""Handle signals while trials run: the first requests a stop that can be resumed, the second ends the run at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the stop signal of a scheduler or the system, and a closed terminal."""


class Interrupts:
    """Context manager that records signals instead of raising; enter it in the main thread.

    Attributes:
        signal: The first signal, or None.
        urgent: Whether a further signal came, which ends running trials at once. SIGHUP does not count, because the
            kernel and the shell can both send it for one closed terminal.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.urgent = False
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the first signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP; 0 without a signal."""
        return 0 if self.signal is None else 128 + self.signal

    def fileno(self) -> int:
        """Return a descriptor that becomes readable at a signal, which wakes a loop blocked in `wait`."""
        return self._read

    def clear(self) -> None:
        """Read the bytes that made the descriptor readable."""
        os.read(self._read, 4096)

    def __enter__(self) -> Interrupts:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        # Under nohup SIGHUP is ignored, and stays ignored.
        heard = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
        self._previous = {number: signal.signal(number, self._record_signal) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def _record_signal(self, number: int, frame: FrameType | None) -> None:
        self.urgent = self.urgent or (self.signal is not None and number != signal.SIGHUP)
        self.signal = self.signal or number
        if number == signal.SIGHUP:
            redirect_closed_streams()
        os.write(self._write, b"!")


def redirect_closed_streams() -> None:
    """Redirect standard streams of a closed terminal to the null device, because each write would fail."""
    closed = [descriptor for descriptor in (0, 1, 2) if not _is_writable(descriptor)]
    if closed:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in closed:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _is_writable(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"")
    except OSError:
        return False
    return True
