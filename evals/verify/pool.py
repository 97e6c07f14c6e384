"""A pool of worker processes. Each can be killed without touching the answers of the others.

Each worker gets a chunk of answers, compares them in order and sends a word for each as soon as it is decided. So the
parent always knows which answer a worker is busy with. When that answer passes its deadline or its memory, or kills the
process, it alone is marked, and the rest of the chunk goes to another process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TypeAlias, cast

from evals.verify.process import Word, WorkerProcess
from evals.verify.walk import Value

Task: TypeAlias = tuple[Value, Value]
"""An answer and a reference, each text or a value with parts."""

CHUNK = 16
_TICK_SECONDS = 0.02
_START_SECONDS = 120.0
_START_ATTEMPTS = 3


class WorkerStartError(RuntimeError):
    """No worker could be started, so that nothing can be verified."""


@dataclass(frozen=True)
class Outcome:
    """What became of one task, and the seconds it took."""

    word: Word
    seconds: float


class Pool:
    """Compare answers with references in up to `workers` processes, started when first needed.

    Not thread-safe; the verifier holds a lock around it. Works in any thread: no signals, no timers.

    Args:
        workers: Processes at most.
        deadline_s: Seconds of processor time an answer may take before its process is killed.
        memory_mb: Resident MiB a process may reach before it is killed.
    """

    def __init__(self, workers: int, deadline_s: float, memory_mb: int) -> None:
        self._size = workers
        self._deadline = deadline_s
        self._memory = memory_mb * 2**20
        self._workers: list[WorkerProcess] = []
        self._failed_starts = 0
        self._tasks: Sequence[Task] = ()
        self._queue: deque[int] = deque()
        self._outcomes: dict[int, Outcome] = {}

    def pids(self) -> list[int]:
        """Process ids of the workers now alive or starting."""
        return [worker.pid for worker in self._workers]

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Compare every (answer, reference) and return the outcomes in order.

        Raises:
            WorkerStartError: Workers fail before they are ready.
        """
        self._tasks, self._queue, self._outcomes = tasks, deque(range(len(tasks))), {}
        try:
            self._work(self._size, CHUNK)
            # An answer that was too slow is tried again alone: other work on the machine must not decide it.
            late = [index for index, outcome in self._outcomes.items() if outcome.word == "timeout"]
            for index in late:
                del self._outcomes[index]
            self._queue.extend(late)
            self._work(1, 1)
        except BaseException:
            self.close()  # a worker may still hold tasks of this call, whose words the next call must not read
            raise
        return [self._outcomes[index] for index in range(len(tasks))]

    def _work(self, workers: int, chunk: int) -> None:
        while len(self._outcomes) < len(self._tasks) and (self._queue or self._count_busy()):
            self._hire(workers, chunk)
            self._feed(workers, chunk)
            self._watch()

    def _count_busy(self) -> int:
        return sum(bool(worker.in_flight) for worker in self._workers)

    def close(self) -> None:
        """Kill every worker. The pool starts new ones when it is used again."""
        while self._workers:
            self._workers.pop().end()

    def _hire(self, workers: int, chunk: int) -> None:
        wanted = min(workers, -(-len(self._queue) // chunk) + self._count_busy())
        while len(self._workers) < wanted:
            self._workers.append(WorkerProcess(self._deadline, self._memory))

    def _feed(self, workers: int, chunk: int) -> None:
        idle = [worker for worker in self._workers if worker.ready and not worker.in_flight]
        for worker in idle[: workers - self._count_busy()]:
            share = [self._queue.popleft() for _ in range(min(chunk, len(self._queue)))]
            if share and not worker.give([(index, self._tasks[index]) for index in share]):
                self._replace(worker, share)

    def _watch(self) -> None:
        """Wait a tick, then take one word from each worker that has one and check on the others."""
        spoke = set(wait([worker.pipe for worker in self._workers], timeout=_TICK_SECONDS))
        for worker in list(self._workers):
            if worker.pipe in spoke:
                self._listen(worker)
            elif worker.in_flight:
                self._check(worker)
            elif not worker.ready and worker.busy_seconds > _START_SECONDS:
                self._note_failed_start(worker, f"not ready after {_START_SECONDS:.0f} s")

    def _listen(self, worker: WorkerProcess) -> None:
        seconds = worker.busy_seconds
        word = worker.take()
        if not worker.ready:
            self._note_start(worker, word)
        elif word is None:
            self._lose(worker, worker.end(), seconds)
        else:
            self._settle(worker, cast("Word", word), seconds)
            if word == "memory" or worker.resident_bytes() > self._memory // 2:
                # What one answer left behind must not count against the next.
                self._replace(worker, list(worker.in_flight))

    def _note_start(self, worker: WorkerProcess, word: str | None) -> None:
        if word != "ready":
            self._note_failed_start(worker, word or "the process died")
        else:
            worker.ready, self._failed_starts = True, 0

    def _note_failed_start(self, worker: WorkerProcess, reason: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _START_ATTEMPTS:
            self._failed_starts = 0
            raise WorkerStartError(
                f"no verifier process could be started, {_START_ATTEMPTS} attempts, the last: {reason}; "
                "check that `python -c 'import math_verify'` works and that memory_mb leaves room for it"
            )
        self._replace(worker, [])

    def _check(self, worker: WorkerProcess) -> None:
        if worker.overdue(self._deadline):
            self._lose(worker, "timeout", worker.busy_seconds)
        elif worker.resident_bytes() > self._memory:
            self._lose(worker, "memory", worker.busy_seconds)

    def _settle(self, worker: WorkerProcess, word: Word, seconds: float) -> None:
        self._outcomes[worker.in_flight.popleft()] = Outcome(word, seconds)

    def _lose(self, worker: WorkerProcess, word: Word, seconds: float) -> None:
        if worker.in_flight:
            self._settle(worker, word, seconds)
        self._replace(worker, list(worker.in_flight))

    def _replace(self, worker: WorkerProcess, unfinished: Sequence[int]) -> None:
        """Kill a worker and put its unfinished tasks back at the front of the queue."""
        self._workers.remove(worker)
        worker.end()
        self._queue.extendleft(reversed(unfinished))
