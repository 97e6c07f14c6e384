"""Worker processes of this machine: assign jobs, read messages, replace dead workers, stop or kill jobs on a signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.process.interrupt import Interrupts
from capo_bench.process.orphans import describe_end
from capo_bench.run import wire
from capo_bench.run.devices import share_out
from capo_bench.run.executor import Executor, Heard, Job
from capo_bench.run.logs import rotate
from capo_bench.store.errors import RunError
from capo_bench.track.store import build_quiet_environment

if TYPE_CHECKING:
    from capo_bench.study.served import ServedCritic

TICK_SECONDS = 1.0


class Worker:
    """The runner's handle of one worker process. The worker, and every process that it started, ends with the runner.

    Args:
        threads: Threads of its numeric libraries.
        log: File for output that it prints outside of jobs.
        gpus: The only GPUs that it sees; None: all GPUs that this process sees.
    """

    def __init__(self, threads: int, log: Path, gpus: Sequence[str] | None = None) -> None:
        self.gpus = list(gpus or ())
        runner_end, worker_end = socket.socketpair()
        watched, self._lifeline = os.pipe()
        passed = (worker_end.fileno(), watched)
        command = [sys.executable, "-P", "-u", "-m", "capo_bench.run.worker", *map(str, passed)]
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            rotate(log)
            with log.open("ab") as out:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    command,
                    env=_build_environment(threads, gpus),
                    pass_fds=passed,
                    process_group=0,  # a Ctrl-C in the terminal reaches only the runner
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
        except OSError as error:
            raise RunError(f"cannot start a worker process (log {log}): {error}") from error
        worker_end.close()
        os.close(watched)
        self.connection = Connection(runner_end.detach())
        self.ended = os.pidfd_open(self._process.pid)
        self.job: Job | None = None
        self.verdict: wire.Message | None = None

    def send(self, message: wire.Message) -> None:
        """Send a job, or the request to stop the running one."""
        with suppress(OSError):  # `hear` notices a dead worker
            wire.send(self.connection, message)

    def hear(self) -> wire.Message | None:
        """Return the next message that has arrived, or None.

        Raises:
            EOFError: The worker is dead and all its messages have been read.
        """
        try:
            if self.connection.poll():
                return wire.receive(self.connection)
        except OSError as error:
            raise EOFError from error
        if wait([self.ended], timeout=0):
            raise EOFError
        return None

    def end(self) -> None:
        """End the process and all processes that it started; `hear` notices it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> str:
        """End the process, close what is connected to it, and return how it died, for an error message."""
        self.end()  # before `wait`: until then the system does not reuse the process id
        code = self._process.wait()
        self.connection.close()
        os.close(self.ended)
        os.close(self._lifeline)
        return f"its worker process {describe_end(code)}"


class LocalExecutor(Executor):
    """Up to `count` workers with `threads` threads each, which share the GPUs.

    Args:
        count: Number of workers.
        threads: Processor threads of each worker.
        log: File for output that workers print outside of jobs.
        interrupts: See `Executor`.
        gpus: GPUs, each assigned to one worker at a time; None: workers are not assigned GPUs.
    """

    def __init__(
        self,
        count: int,
        threads: int,
        log: Path,
        interrupts: Interrupts | None = None,
        gpus: Sequence[str] | None = None,
    ) -> None:
        super().__init__(interrupts)
        self._gpus, self._shared = list(gpus or ()), gpus is not None
        self.count, self.threads, self.log = count, threads, log
        self._workers: list[Worker] = []

    def __exit__(self, *error: object) -> None:
        while self._workers:
            self._workers.pop().kill()

    def hold(self, critics: Sequence[ServedCritic]) -> dict[ServedCritic, list[str]]:
        """Return the GPUs of each critic's server; see `Executor.hold`."""
        shares, self._gpus = share_out(critics, self._gpus)
        return shares

    def _start(self) -> Iterator[Heard]:
        while (job := self._take_next()) is not None:
            worker = self._get_worker(job)
            worker.job = job
            worker.send(job.message())
            yield job, {"kind": "start"}

    def _take_next(self) -> Job | None:
        if len(self._list_running()) >= self.count:
            return None
        now = time.monotonic()
        for at, (due, job) in enumerate(self._pending):
            if due <= now and (not self._shared or job.gpus <= len(self._gpus) + len(self._list_idle_gpus())):
                del self._pending[at]
                return job
        return None

    def _stop_running(self) -> None:
        for worker in self._list_running():
            if worker.job and worker.job.do == "trial":
                worker.send({"do": "stop"})  # the job saves and returns
            else:
                worker.end()

    def _list_running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.job]

    def _list_idle_gpus(self) -> list[str]:
        return [gpu for worker in self._workers if not worker.job for gpu in worker.gpus]

    def _get_worker(self, job: Job) -> Worker:
        """Return an idle worker with as many GPUs as the job needs; start a new one if there is none."""
        idle = [worker for worker in self._workers if not worker.job]
        for worker in idle:
            if not self._shared or len(worker.gpus) == job.gpus:
                return worker
        for worker in idle:  # their GPUs go to the new worker
            self._retire(worker)
        assigned, self._gpus = self._gpus[: job.gpus], self._gpus[job.gpus :]
        worker = Worker(self.threads, self.log, assigned if self._shared else None)
        self._workers.append(worker)
        return worker

    def _listen(self) -> Iterator[Heard]:
        owner: dict[Any, Worker] = {}
        for worker in self._workers:
            owner[worker.connection] = owner[worker.ended] = worker
        signals = [] if self._interrupts is None else [self._interrupts.fileno()]
        ready = wait([*owner, *signals], timeout=TICK_SECONDS)
        yield from self._hear_signal()
        for worker in {owner[source]: None for source in ready if source in owner}:
            yield from self._hear(worker)

    def _hear(self, worker: Worker) -> Iterator[Heard]:
        try:
            while (message := worker.hear()) is not None:
                job = worker.job
                if message["kind"] == "end":
                    worker.job = None
                if job:
                    yield job, message
                # A failure can leave the process unusable (a corrupt CUDA context), so the next job gets a new process.
                if message.get("status") == "failed":
                    self._retire(worker)
                    return
        except EOFError:
            how = self._retire(worker)
            if worker.job:
                yield worker.job, self._conclude(worker, {"kind": "end", "error": how, "cause": "lost"})

    def _retire(self, worker: Worker) -> str:
        self._workers.remove(worker)
        self._gpus += worker.gpus
        return worker.kill()


def _build_environment(threads: int, gpus: Sequence[str] | None) -> dict[str, str]:
    """Return the environment of a worker, which has the import path of the runner.

    Thread counts are environment variables because they must be set before any import. Thread counts that the user has
    set are kept: the variable of each library, or OMP_NUM_THREADS for libraries without one.
    """
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    usual = os.environ.get("OMP_NUM_THREADS", str(threads))
    kinds = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    counts = {name: os.environ.get(name, usual) for name in kinds}
    quiet = build_quiet_environment()
    seen = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
    return os.environ | quiet | seen | {"PYTHONPATH": path} | counts
