"""The progress meter of all commands except `run`: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from capo_bench.run.board import Countdown, format_duration
from capo_bench.run.progress import PLAIN_SECONDS, say

QUIET_SECONDS = 2.0
"""Work that ends sooner shows no meter."""


class ProgressMeter:
    """The progress of some work, shown on a console as a bar (terminal) or as lines."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        columns = (TextColumn("{task.fields[name]}", markup=False), BarColumn(30), TextColumn("{task.fields[words]}"))
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("", name="", words="")
        self._title = ""
        self._opened = self._began = self._last = clock()
        self._first = 0
        self._countdown = Countdown()

    def tell(self, title: str, done: int, total: int, detail: str = "", *, rest: float | None = None) -> None:
        """Show that `done` of `total` is done; a new title starts a new measurement.

        `rest` is the estimated number of seconds left, if the caller has a better estimate than the pace so far.
        """
        now = self._clock()
        begins = title != self._title
        if begins:
            self._title, self._began, self._first, self._countdown = title, now, done, Countdown()
        words = self._describe(done, total, detail, rest, now)
        if self._console.is_terminal:
            if not self._bar.live.is_started and now - self._opened >= QUIET_SECONDS:
                self._bar.start()
            self._bar.update(self._task, completed=done, total=total, name=title, words=words)
        elif self._is_news(begins, done == total, bool(detail), now):
            self._last = now
            say(self._console, f"{title}: {words}")

    def _is_news(self, begins: bool, ends: bool, detailed: bool, now: float) -> bool:
        """Return whether a line is due: when a title begins or ends, and otherwise every `PLAIN_SECONDS`.

        In the first `QUIET_SECONDS`, only the first and last lines of titles with a detail are due.
        """
        if now - self._opened < QUIET_SECONDS:
            return (begins or ends) and detailed
        return begins or ends or now - self._last >= PLAIN_SECONDS

    def say(self, text: str) -> None:
        """Print immediately what has begun and may take long."""
        say(self._console, f"{text} …")

    def end(self) -> None:
        """Remove the bar."""
        if self._bar.live.is_started:
            self._bar.stop()

    def _describe(self, done: int, total: int, detail: str, rest: float | None, now: float) -> str:
        made = done - self._first
        if rest is None and made > 0:
            rest = (now - self._began) / made * (total - done)
        left = self._countdown.show(rest, now)
        parts = [f"{done:,}/{total:,}", detail, f"about {format_duration(left)} left" if left and done < total else ""]
        return " · ".join(filter(None, parts))


@contextmanager
def meter(console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[ProgressMeter]:
    """Open a meter on a console, by default on standard error; it is removed when the context ends."""
    shown = ProgressMeter(console or Console(stderr=True), clock)
    try:
        yield shown
    finally:
        shown.end()


@contextmanager
def open_meter(title: str) -> Iterator[Callable[[int, int], None]]:
    """Open a meter with one title; yields a function that takes the number done and the total."""
    with meter() as shown:
        yield lambda done, total: shown.tell(title, done, total)
