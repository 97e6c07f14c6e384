"""Stops asking a failing server for a while, so that a run does not wait for each request to fail."""

from __future__ import annotations

import time
from collections.abc import Callable


class Breaker:
    """Counts failures in a row: at `failures` it opens, and no call passes until the cool-down is over.

    Then one call passes. Its success closes the breaker; otherwise the next call passes after another cool-down.

    Args:
        failures: Failures in a row that open it.
        cool_down: Seconds that it stays open.
        clock: Seconds from any fixed point.
    """

    def __init__(self, failures: int, cool_down: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._cool_down = cool_down
        self._clock = clock
        self._failed = 0
        self._shut_until = 0.0

    def passes(self) -> bool:
        """Return whether a call may be made now; True after a cool-down is for this one call."""
        if self._failed < self._limit:
            return True
        if self._clock() < self._shut_until:
            return False
        self._shut_until = self._clock() + self._cool_down
        return True

    def succeeded(self) -> None:
        """Note a successful call."""
        self._failed = 0

    def failed(self) -> bool:
        """Note a failed call; return whether it opened the breaker."""
        self._failed += 1
        if self._failed < self._limit:
            return False
        self._shut_until = self._clock() + self._cool_down
        return self._failed == self._limit
