"""Deliver results to the tracking store during a run, by calling `StudyBook.deliver` repeatedly in a thread.

The run does not wait for the thread, except at its end, and does not fail because of it. Everything is read from the
results folder, so nothing is lost: after a failure the store is opened again, after increasing waits. What a run could
not deliver, the next run or `capo-bench sync` delivers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.store.home import Home
from capo_bench.track.store import Store, describe_failure, silence_mlflow

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan
    from capo_bench.track.study import Answered

FLUSH_SECONDS = 10.0
CLOSE_SECONDS = 30.0
RETRY_SECONDS = (5.0, 300.0)
"""First and longest wait before a failed store is opened again; the wait doubles each time."""


class Tracker:
    """Delivers one run of a study to the tracking store during the run; `warn` receives the first failure.

    It is a context manager: an error that ends the context closes the tracker.

    Attributes:
        failures: Number of failed deliveries so far.
        link: Path of the study's curves below the address of MLflow's pages; empty until the store is open.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - plan, folder, store, and intervals
        self,
        plan: Plan,
        home: Home,
        store: Store,
        warn: Callable[[str], None],
        flush_seconds: float = FLUSH_SECONDS,
        retry_seconds: tuple[float, float] = RETRY_SECONDS,
    ) -> None:
        self._plan, self._home, self._store, self._warn = plan, home, store, warn
        self._flush_seconds, self._retry_seconds = flush_seconds, retry_seconds
        self._over = threading.Event()
        self._report: Path | None = None
        self._answered: Answered | None = None
        self._finished = self._whole = False
        self.failures, self.link = 0, ""
        # A daemon thread, because a store that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._deliver, name="tracking", daemon=True)

    def __enter__(self) -> Tracker:
        silence_mlflow()
        self._thread.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            self.close(finished=False, timeout=5)

    def close(
        self,
        finished: bool,
        report: Path | None = None,
        timeout: float = CLOSE_SECONDS,
        answered: Answered | None = None,
    ) -> bool:
        """Deliver the rest within `timeout` seconds; return whether everything was delivered.

        `finished` says whether all trials of the plan are done. The files of the folder `report` are attached.
        """
        self._finished, self._report, self._answered = finished, report, answered
        self._over.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._count_failure(TimeoutError(f"no answer within {timeout:.0f} s"))
            return False
        return self._whole

    def _deliver(self) -> None:
        book: Any = None
        monitor: Any = None
        pause, retry = self._flush_seconds, self._retry_seconds[0]
        over = False
        while not over:
            over = self._over.is_set()
            try:
                if book is None:
                    book = self._open()
                    monitor = monitor or self._watch_machine(book.parent)
                lost = book.deliver(live=True).lost
                if over:
                    book.close(finished=self._finished, report=self._report, answered=self._answered)
                self._whole = not lost
                pause, retry = self._flush_seconds, self._retry_seconds[0]
                if lost:
                    self._count_failure(lost[0])
            except Exception as error:
                book, self._whole = None, False
                pause, retry = retry, min(2 * retry, self._retry_seconds[1])
                self._count_failure(error)
            if not over:
                self._over.wait(pause)
        if monitor is not None:
            monitor.finish()

    def _open(self) -> Any:
        from capo_bench.track.study import StudyBook

        book = StudyBook(self._plan, self._home, self._store)
        self.link = book.link
        return book

    def _watch_machine(self, run: str) -> Any:
        """Return a monitor that writes the machine's load to the study's run every ten seconds."""
        from mlflow.system_metrics import system_metrics_monitor

        start: Any = system_metrics_monitor.SystemMetricsMonitor  # MLflow has no types for it
        monitor = start(run, resume_logging=True, tracking_uri=self._store.uri)
        monitor.start()
        return monitor

    def _count_failure(self, error: Exception | str) -> None:
        self.failures += 1
        if self.failures == 1:
            self._warn(
                f"tracking failed, the run goes on and what is missing is written later: by this run, or by "
                f"capo-bench sync ({describe_failure(self._store, error)})"
            )
