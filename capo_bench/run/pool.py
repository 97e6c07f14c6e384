"""Worker processes and the jobs they do: hand out, listen, replace the dead, stop or kill on a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from capo_bench.run import wire
from capo_bench.run.errors import RunError
from capo_bench.run.interrupt import Interrupts
from capo_bench.track.store import quiet_environment

if TYPE_CHECKING:
    from capo_bench.study.identity import SharedKind
    from capo_bench.study.plan import Trial

TICK_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """One call of a task in a worker.

    Attributes:
        do: ``"trial"``, or the kind of a shared model. A trial can stop early and be resumed; a shared model cannot,
            so it is killed instead.
        task: ``"module:function"``.
        log: File that gets what the job prints.
        lock: File that is locked while the job runs, so that two studies that share it do it once.
        keep_critiques: See `Home`.
    """

    do: Literal["trial"] | SharedKind
    task: str
    trial: Trial
    home: Path
    log: Path
    lock: Path
    keep_critiques: bool = True

    def message(self) -> wire.Message:
        """Return the job as it goes to a worker."""
        paths = {name: str(getattr(self, name).absolute()) for name in ("home", "log", "lock")}
        plain = {"do": self.do, "task": self.task, "keep_critiques": self.keep_critiques}
        return {**plain, "trial": self.trial.as_json(), **paths}


class Worker:
    """The runner's handle of one worker process. Start it in the main thread: it dies with the starting thread.

    Args:
        threads: Threads of its numeric libraries.
        log: File for what it prints outside of jobs.
    """

    def __init__(self, threads: int, log: Path) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-u", "-m", "capo_bench.run.worker", str(theirs.fileno()), str(os.getpid())]
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as out:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    env=_environment(threads),
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # a Ctrl-C in the terminal reaches the runner alone
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
        except OSError as error:
            raise RunError(f"cannot start a worker process (log {log}): {error}") from error
        theirs.close()
        self.connection = Connection(ours.detach())
        self.ended = os.pidfd_open(self._process.pid)
        self.job: Job | None = None

    @property
    def pid(self) -> int:
        """Process id, and id of the process group of all that the worker starts."""
        return self._process.pid

    def start(self, job: Job) -> None:
        """Hand over a job."""
        self.job = job
        with suppress(OSError):  # a dead worker shows when it is listened to
            wire.send(self.connection, job.message())

    def ask_to_stop(self) -> None:
        """Ask the running job to save and return."""
        with suppress(OSError):
            wire.send(self.connection, {"do": "stop"})

    def hear(self) -> wire.Message | None:
        """Return the next waiting message, or None.

        Raises:
            EOFError: The worker is dead and has no more to say.
        """
        try:
            if self.connection.poll():
                return wire.receive(self.connection)
        except OSError as error:
            raise EOFError from error
        if wait([self.ended], timeout=0):
            raise EOFError
        return None

    def kill(self) -> str:
        """End the process and all it started; return how it had died, for an error message."""
        with suppress(ProcessLookupError):  # before it is waited for: its number is not yet anybody else's
            os.killpg(self._process.pid, signal.SIGKILL)
        code = self._process.wait()
        self.connection.close()
        os.close(self.ended)
        if code >= 0:
            return f"its worker process ended with exit code {code}"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"its worker process was killed by {signal.Signals(-code).name}{hint}"


class Pool:
    """Up to `count` workers of `threads` threads each; a context, at whose end all of them are gone."""

    def __init__(self, count: int, threads: int, log: Path, interrupts: Interrupts) -> None:
        self.count, self.threads, self.log = count, threads, log
        self._interrupts = interrupts
        self._workers: list[Worker] = []
        self.stopping = False

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        while self._workers:
            self._workers.pop().kill()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job | None, wire.Message]]:
        """Do the jobs in order, in parallel; yield each with what is heard of it.

        Messages: ``{"kind": "start"}``, whatever the task emits, and ``{"kind": "end", "status": "done" | "stopped" |
        "failed", "error"?}``. Without a job: ``{"kind": "tick"}`` at least once a second, and ``{"kind": "stopping"}``
        at the first signal. After `stop` no job starts.
        """
        owed = deque(jobs)
        while True:
            while owed and not self.stopping and len(self._busy()) < self.count:
                job = owed.popleft()
                self._idle_worker().start(job)
                yield job, {"kind": "start"}
            if not self._busy():
                return
            yield from self._listen()
            yield None, {"kind": "tick"}

    def stop(self) -> None:
        """Start nothing more, ask running jobs to save and return, kill those that cannot."""
        if self.stopping:
            return
        self.stopping = True
        for worker in self._busy():
            if worker.job and worker.job.do == "trial":
                worker.ask_to_stop()
            else:
                _end_group(worker)

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.job]

    def _idle_worker(self) -> Worker:
        for worker in self._workers:
            if not worker.job:
                return worker
        worker = Worker(self.threads, self.log)
        self._workers.append(worker)
        return worker

    def _listen(self) -> Iterator[tuple[Job | None, wire.Message]]:
        owner: dict[Any, Worker] = {}
        for worker in self._workers:
            owner[worker.connection] = owner[worker.ended] = worker
        ready = wait([*owner, self._interrupts.fileno()], timeout=TICK_SECONDS)
        if self._interrupts.fileno() in ready:
            self._interrupted()
            yield None, {"kind": "stopping"}
        for worker in {owner[source]: None for source in ready if source in owner}:
            yield from self._hear(worker)

    def _interrupted(self) -> None:
        self._interrupts.clear()
        self.stop()
        if self._interrupts.count > 1:
            for worker in self._busy():
                _end_group(worker)

    def _hear(self, worker: Worker) -> Iterator[tuple[Job, wire.Message]]:
        try:
            while (message := worker.hear()) is not None:
                job = worker.job
                if message["kind"] == "end":
                    worker.job = None
                if job:
                    yield job, message
                # A failure may leave the process unfit (a poisoned CUDA context): the next job gets a fresh one.
                if message.get("status") == "failed":
                    self._retire(worker)
                    return
        except EOFError:
            how = self._retire(worker)
            if worker.job:
                yield worker.job, {"kind": "end", "status": "stopped" if self.stopping else "failed", "error": how}

    def _retire(self, worker: Worker) -> str:
        self._workers.remove(worker)
        return worker.kill()


def _end_group(worker: Worker) -> None:
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)


def _environment(threads: int) -> dict[str, str]:
    """Return the environment of a worker: it imports what the runner imports; thread counts hold before any import."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), threads)
    # TRL imports the tracking package where it is installed.
    quiet = quiet_environment()
    return os.environ | quiet | {"PYTHONPATH": path} | {name: str(count) for name, count in counts.items()}
