"""The one writer to MLflow: a thread of the runner's process.

The run never waits for it and never fails by it. What it writes it reads from the results folder, so nothing can be
lost: after a failure it opens the store anew, later each time, sees what is there, and writes what is not. What a run
could not deliver, the next one or `capo-bench sync` does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.home import Home
from capo_bench.track.redact import redact
from capo_bench.track.store import Store, quiet

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan
    from capo_bench.track.book import StudyBook

FLUSH_SECONDS = 10.0
CLOSE_SECONDS = 30.0
RETRY_SECONDS = (5.0, 300.0)
"""Wait before a store that failed is opened again: the first time, and at most; doubled each time."""


class Tracker:
    """Writes one run of a study to the tracking store.

    Args:
        plan: The study.
        home: The results folder.
        store: Where to write.
        warn: Called with a text at the first failure, from the writer's thread.
        flush_seconds: How often the curves of running trials are written.
        retry_seconds: See `RETRY_SECONDS`.

    Attributes:
        failures: Writes that failed so far.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what, where to, how often
        self,
        plan: Plan,
        home: Home,
        store: Store,
        warn: Callable[[str], None],
        flush_seconds: float = FLUSH_SECONDS,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
    ) -> None:
        self._plan, self._home, self._store = plan, home, store
        self._warn, self._flush_seconds = warn, flush_seconds
        self._first_wait, self._longest_wait = self._wait, _ = retry_seconds
        self._changed = threading.Condition()
        self._running: set[str] = set()
        self._owed: dict[str, str] = {}  # trial: its last state that is not written yet
        self._report: Path | None = None
        self._finished: bool | None = None  # known at the end
        self._book: StudyBook | None = None
        self._open_at = 0.0
        self._lost = False
        self.failures = 0
        # A daemon: a store that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._write, name="tracking", daemon=True)

    def start(self) -> None:
        """Open the store and bring it up to date with the trials that are done."""
        quiet()
        self._thread.start()

    def on(self, event: Mapping[str, Any]) -> None:
        """Take an event of the runner; returns at once."""
        kind, trial = event["event"], event.get("trial", "")
        if kind in ("trial_started", "trial_done", "trial_failed", "trial_stopped"):
            with self._changed:
                self._owed[trial] = kind.removeprefix("trial_")
                self._changed.notify()

    def report(self, folder: Path) -> None:
        """Attach the report's files to the study."""
        with self._changed:
            self._report = folder
            self._changed.notify()

    def close(self, finished: bool, timeout: float = CLOSE_SECONDS) -> bool:
        """Write what is left, at most `timeout` seconds; return whether everything was written.

        Args:
            finished: Whether all trials of the plan are done.
            timeout: Seconds to wait for the store.
        """
        with self._changed:
            self._finished, self._open_at = finished, 0.0  # one last try, at once
            self._changed.notify()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._failed(TimeoutError(f"no answer within {timeout:.0f} s"))
            return False
        return self._book is not None and not self._lost and not self._owed and self._report is None

    def _write(self) -> None:
        due = 0.0
        while True:
            with self._changed:
                if not self._due(due):
                    self._changed.wait(max(0.01, min(self._flush_seconds, self._pause(due))))
                ending = self._finished is not None
                flush = time.monotonic() >= due
            if flush:
                due = time.monotonic() + self._flush_seconds
            if ending or time.monotonic() >= self._open_at:
                self._deliver(flush)
            if ending:
                return

    def _due(self, flush_at: float) -> bool:
        """Whether there is something to do now."""
        if self._finished is not None:
            return True
        now = time.monotonic()
        wanted = self._book is None or bool(self._owed) or self._report is not None or now >= flush_at
        return wanted and now >= self._open_at

    def _pause(self, flush_at: float) -> float:
        waiting = self._book is None or bool(self._owed) or self._report is not None
        return (self._open_at if waiting else flush_at) - time.monotonic()

    def _deliver(self, flush: bool) -> None:
        """Write what is owed; whatever fails, the store is opened anew before the next write."""
        try:
            book = self._book = self._book or self._open()
            for trial, state in list(self._owed.items()):
                self._try_state(book, trial, state)
                with self._changed:
                    if self._owed.get(trial) == state:
                        del self._owed[trial]
            if flush:
                for trial in self._running:
                    book.curves(trial)
            if (folder := self._report) is not None:
                book.report(folder)
                self._report = None
            if self._finished is not None:
                book.close(self._finished)
            self._wait = self._first_wait
        except Exception as error:
            self._book = None
            self._open_at = time.monotonic() + self._wait
            self._wait = min(2 * self._wait, self._longest_wait)
            self._failed(error)

    def _open(self) -> StudyBook:
        from capo_bench.track.book import StudyBook

        book = StudyBook(self._plan, self._home, self._store)
        book.catch_up()
        return book

    def _try_state(self, book: StudyBook, trial: str, state: str) -> None:
        try:
            self._state(book, trial, state)
        except (FileNotFoundError, ValueError, KeyError) as error:  # of what the trial left: the others go on
            self._lost = True
            self._failed(error)

    def _state(self, book: StudyBook, trial: str, state: str) -> None:
        if state == "started":
            self._running.add(trial)
            book.start(trial)
        else:
            self._running.discard(trial)
            book.end(trial, state)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if self.failures == 1:
            lines = str(error).strip().splitlines() or [""]
            what = redact(f"{type(error).__name__}: {lines[0]}")[:300]
            self._warn(
                f"tracking failed, the run goes on and what is missing is written later: by this run, or by "
                f"capo-bench sync ({redact(self._store.uri)}: {what})"
            )
