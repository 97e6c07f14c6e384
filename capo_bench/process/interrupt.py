"""Signals while trials run: the first asks for a stop that can be resumed, the second ends at once."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a scheduler or the system that wants the machine back, a terminal that was closed."""


class Interrupts:
    """Context that counts signals instead of raising; enter it in the main thread.

    Attributes:
        count: Signals so far.
        signal: The first one, or None.
        urgent: Whether another one came, and running trials end at once. A terminal that is closed does not hurry:
            the kernel and the shell both tell of it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signal: int | None = None
        self.urgent = False
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the first signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP; 0 without one."""
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
        # Under nohup a closed terminal is to be ignored, and stays so.
        heard = [number for number in SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
        self._previous = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.urgent = self.urgent or (self.signal is not None and number != signal.SIGHUP)
        self.signal = self.signal or number
        if number == signal.SIGHUP:
            speak_to_nobody()
        os.write(self._write, b"!")


def speak_to_nobody() -> None:
    """Turn what still goes to a closed terminal away: each write there would fail. An open one is left as it is."""
    closed = [descriptor for descriptor in (0, 1, 2) if not _writable(descriptor)]
    if closed:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in closed:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _writable(descriptor: int) -> bool:
    try:
        os.write(descriptor, b"")
    except OSError:
        return False
    return True
