"""The one writer to MLflow: a thread of the runner's process, fed by a queue.

The run never waits for it and never fails by it: a failure is counted and told once. It reads what it logs from the
results folder, so what it missed in one run it makes up for in the next.
"""

from __future__ import annotations

import queue
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


class Tracker:
    """Writes one run of a study to the tracking store.

    Args:
        plan: The study.
        home: The results folder.
        store: Where to write.
        warn: Called with a text at the first failure, from the writer's thread.
        flush_seconds: How often the curves of running trials are written.

    Attributes:
        failures: Writes that failed so far.
    """

    def __init__(
        self,
        plan: Plan,
        home: Home,
        store: Store,
        warn: Callable[[str], None],
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self._plan, self._home, self._store = plan, home, store
        self._warn, self._flush_seconds = warn, flush_seconds
        self._queue: queue.SimpleQueue[Callable[[StudyBook], None] | None] = queue.SimpleQueue()
        self._running: set[str] = set()
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
        if kind == "trial_started":
            self._put(lambda book: self._started(book, trial))
        elif kind in ("trial_done", "trial_failed", "trial_stopped"):
            status = kind.removeprefix("trial_")
            self._put(lambda book: self._ended(book, trial, status))

    def report(self, folder: Path) -> None:
        """Attach the report's files to the study."""
        self._put(lambda book: book.report(folder))

    def close(self, finished: bool, timeout: float = CLOSE_SECONDS) -> bool:
        """Write what is left, at most `timeout` seconds; return whether everything was written.

        Args:
            finished: Whether all trials of the plan are done.
            timeout: Seconds to wait for the store.
        """
        self._put(lambda book: book.close(finished))
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._failed(TimeoutError(f"no answer within {timeout:.0f} s"))
        return self.failures == 0

    def _put(self, action: Callable[[StudyBook], None]) -> None:
        self._queue.put(action)

    def _write(self) -> None:
        book = self._open()
        if book is None:
            return
        due = time.monotonic() + self._flush_seconds
        while True:
            try:
                action = self._queue.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                self._try(self._curves, book)
                due = time.monotonic() + self._flush_seconds
                continue
            if action is None:
                return
            self._try(action, book)

    def _open(self) -> StudyBook | None:
        from capo_bench.track.book import StudyBook

        try:
            book = StudyBook(self._plan, self._home, self._store)
        except Exception as error:
            self._failed(error)
            return None
        self._try(StudyBook.catch_up, book)
        return book

    def _try(self, action: Callable[[StudyBook], None], book: StudyBook) -> None:
        try:
            action(book)
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if self.failures == 1:
            lines = str(error).strip().splitlines() or [""]
            what = redact(f"{type(error).__name__}: {lines[0]}")[:300]
            self._warn(f"tracking failed, the run goes on without it ({redact(self._store.uri)}: {what})")

    def _started(self, book: StudyBook, trial: str) -> None:
        self._running.add(trial)
        book.start(trial)

    def _ended(self, book: StudyBook, trial: str, status: str) -> None:
        self._running.discard(trial)
        book.end(trial, status)

    def _curves(self, book: StudyBook) -> None:
        for trial in self._running:
            book.curves(trial)
