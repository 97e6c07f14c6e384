"""The one progress meter of commands that are no run: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from capo_bench.run.board import Countdown, duration
from capo_bench.run.progress import PLAIN_SECONDS, say

QUIET_SECONDS = 2.0
"""What ends sooner shows no meter."""


class ProgressMeter:
    """How far something is, on a console whose kind (terminal or not) decides how it is shown."""

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
        """Show that `done` of `total` is done; another title begins anew.

        `rest` are the seconds that the rest takes, where the caller knows better than the pace since the title began.
        """
        now = self._clock()
        begins = title != self._title
        if begins:
            self._title, self._began, self._first, self._countdown = title, now, done, Countdown()
        words = self._words(done, total, detail, rest, now)
        if self._console.is_terminal:
            if not self._bar.live.is_started and now - self._opened >= QUIET_SECONDS:
                self._bar.start()
            self._bar.update(self._task, completed=done, total=total, name=title, words=words)
        elif self._is_news(begins, done == total, bool(detail), now):
            self._last = now
            say(self._console, f"{title}: {words}")

    def _is_news(self, begins: bool, ends: bool, detailed: bool, now: float) -> bool:
        """Whether a line is due: soon after a title begins or ends, and then now and again."""
        if now - self._opened < QUIET_SECONDS:
            return (begins or ends) and detailed
        return begins or ends or now - self._last >= PLAIN_SECONDS

    def say(self, text: str) -> None:
        """Print what has begun that may take long, at once."""
        say(self._console, f"{text} …")

    def end(self) -> None:
        """Take the bar away."""
        if self._bar.live.is_started:
            self._bar.stop()

    def _words(self, done: int, total: int, detail: str, rest: float | None, now: float) -> str:
        made = done - self._first
        if rest is None and made > 0:
            rest = (now - self._began) / made * (total - done)
        left = self._countdown.show(rest, now)
        parts = [f"{done:,}/{total:,}", detail, f"about {duration(left)} left" if left and done < total else ""]
        return " · ".join(filter(None, parts))


@contextmanager
def meter(console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[ProgressMeter]:
    """Open a meter, on the errors' stream unless a console is given; it leaves nothing behind."""
    shown = ProgressMeter(console or Console(stderr=True), clock)
    try:
        yield shown
    finally:
        shown.end()


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Open a meter of one title; yields the function that is told how much is done of how much."""
    with meter() as shown:
        yield lambda done, total: shown.tell(title, done, total)
