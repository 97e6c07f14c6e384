"""What the driver carries: to the store what nodes need of its home, from the store what jobs left, beside its work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from capo_bench.run import wire
from capo_bench.run.cluster.artifacts import Store, StoreError
from capo_bench.run.cluster.staging import collect, seed
from capo_bench.run.executor import Job

_THREADS = 4


class Couriers:
    """Carries for many jobs at a time.

    Args:
        url: Of the store; None: there is nothing to carry, because all share the driver's home.

    Raises:
        RunError: The URL's protocol is unknown or its package is not installed.
    """

    def __init__(self, url: str | None) -> None:
        if url is not None:
            Store(url)  # a mistake in it shows before anything is started
        self._url = url
        self._threads = ThreadPoolExecutor(_THREADS)
        self._seeds: deque[tuple[Job, Future[None]]] = deque()
        self._collections: deque[tuple[Job, wire.Message, Future[None]]] = deque()

    @property
    def seeding(self) -> int:
        """Jobs whose needs are on their way."""
        return len(self._seeds)

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._seeds or self._collections)

    def seed(self, job: Job) -> None:
        """Carry to the store what a job needs."""
        self._seeds.append((job, self._threads.submit(_seed, self._url, job)))

    def seeded(self) -> Iterator[tuple[Job, wire.Message | None]]:
        """Yield the jobs that can start; with an ``end`` those that cannot."""
        for item in [item for item in self._seeds if item[1].done()]:
            self._seeds.remove(item)
            yield item[0], _failure(item[1])

    def forget_seeds(self) -> None:
        """Carry no more to the store."""
        for _, future in self._seeds:
            future.cancel()
        self._seeds.clear()

    def collect(self, job: Job, end: wire.Message) -> None:
        """Carry home what a job left that ended so."""
        done = end["status"] == "done"
        self._collections.append((job, end, self._threads.submit(_collect, self._url, job, done)))

    def ended(self) -> Iterator[tuple[Job, wire.Message]]:
        """Yield the jobs that have ended and whose files are here."""
        for item in [item for item in self._collections if item[2].done()]:
            self._collections.remove(item)
            job, end, future = item
            # A job that failed says why; that its log is not to be had is the lesser news.
            yield job, end if end["status"] == "failed" else _failure(future) or end

    def close(self) -> None:
        """Leave what has not begun, wait for what has."""
        self._threads.shutdown(cancel_futures=True)


def _seed(url: str | None, job: Job) -> None:
    if url is not None:
        seed(url, job)


def _collect(url: str | None, job: Job, done: bool) -> None:
    if url is not None:
        collect(url, job, done=done)


def _failure(future: Future[None]) -> wire.Message | None:
    error = future.exception()
    if error is None:
        return None
    cause = "endpoint" if isinstance(error, StoreError) else "other"
    return {"kind": "end", "status": "failed", "error": str(error), "cause": cause}
