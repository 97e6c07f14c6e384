"""Interface for running jobs, in worker processes of this machine or on a cluster."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from capo_bench.run import wire

if TYPE_CHECKING:
    from capo_bench.process.interrupt import Interrupts
    from capo_bench.study.identity import SharedKind
    from capo_bench.study.plan import Trial
    from capo_bench.study.served import ServedCritic


CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class Attempt:
    """One attempt to run a trial: settings that may differ between attempts without changing the result.

    Attributes:
        number: Number of the attempt, starting at 1.
        micro_batch: Rollouts per micro-batch if it differs from the trial's setting: it is halved after out of memory.
            The gradient is the same sum in another order.
        checkpoint_seconds: Minimum seconds between two checkpoints; 0: a checkpoint after every step.
    """

    number: int = 1
    micro_batch: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS


@dataclass(frozen=True)
class Job:
    """One call of a task in a worker.

    Attributes:
        do: ``"trial"``, or the kind of a shared model. A trial can save, stop early and be resumed. A job that makes a
            shared model cannot, and is killed instead.
        task: ``"module:function"``.
        lock: File that is locked while the job runs; two studies that share the job do it only once.
        rank: Order of start: of the jobs that are due, the one with the lowest rank starts first.
        critic_url: Address of the trial's critic server, if the run started one.
        memory_taken: Share of the GPU memory that critic servers use.
    """

    do: Literal["trial"] | SharedKind
    task: str
    trial: Trial
    home: Path
    log: Path
    lock: Path
    keep_critiques: bool = True
    gpus: int = 0
    attempt: Attempt = field(default_factory=Attempt)
    rank: int = 0
    critic_url: str = ""
    memory_taken: float = 0.0

    def message(self) -> wire.Message:
        """Return the job as plain data to send to a worker."""
        paths = {name: str(getattr(self, name).absolute()) for name in ("home", "log", "lock")}
        named = ("do", "task", "keep_critiques", "gpus", "critic_url", "memory_taken")
        plain = {name: getattr(self, name) for name in named}
        return {**plain, "trial": self.trial.as_json(), "attempt": asdict(self.attempt), **paths}


Heard = tuple[Job | None, wire.Message]
"""A message and its job; None: the message is of the executor itself."""


class RunningJob(Protocol):
    """A worker process or a task of the cluster that runs a job.

    Attributes:
        verdict: End of the job if it was killed on purpose.
    """

    verdict: wire.Message | None

    @property
    def job(self) -> Job | None:
        """The job; None if it has ended."""

    def end(self) -> None:
        """End the job now, with all processes that it started."""


class Executor(ABC):
    """Runs jobs in parallel until signals stop it.

    It is a context manager; when the context ends, no process and no open port remains.

    Args:
        interrupts: Signals that stop the jobs; None: only `stop` and `kill` do.
    """

    def __init__(self, interrupts: Interrupts | None) -> None:
        self._interrupts = interrupts
        self._pending: list[tuple[float, Job]] = []
        self.stopping = False

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *error: object) -> None: ...

    @abstractmethod
    def hold(self, critics: Sequence[ServedCritic]) -> dict[ServedCritic, list[str]]:
        """Reserve GPUs for critic servers and return their names for each critic.

        Jobs do not get reserved GPUs. A critic without GPUs of its own gets names of GPUs that jobs use too. The names
        are those of CUDA_VISIBLE_DEVICES.

        Raises:
            RunError: The critics need more GPUs than this machine has.
        """

    def submit(self, job: Job, delay: float = 0.0) -> None:
        """Add a job that starts at the earliest in `delay` seconds; has no effect after `stop`."""
        if not self.stopping:
            insort(self._pending, (time.monotonic() + delay, job), key=lambda pending: pending[1].rank)

    def events(self, more: Callable[[], bool] = lambda: False) -> Iterator[Heard]:
        """Run the submitted jobs and yield messages until no job is pending or running.

        Jobs can also be submitted during the iteration. `more` is called when no job is left: while it returns True,
        the iteration continues, unless the executor is stopped.

        Messages with a job are ``{"kind": "start"}``, the messages that the task emits (`capo_bench.run.stages`), and
        as the last message of the job ``{"kind": "end", "status": "done" | "stopped" | "failed", "error"?, "cause"?}``
        (`capo_bench.run.failures`). Messages without a job are ``{"kind": "tick"}``, at least once a second, and
        ``{"kind": "stopping"}`` at the first signal.
        """
        while True:
            yield from self._start()
            if not (self._list_running() or self._pending or (more() and not self.stopping)):
                return
            yield from self._listen()
            yield None, {"kind": "tick"}

    @abstractmethod
    def _start(self) -> Iterable[Heard]:
        """Start the pending jobs that are due and have room."""

    @abstractmethod
    def _list_running(self) -> Sequence[RunningJob]: ...

    @abstractmethod
    def _listen(self) -> Iterator[Heard]:
        """Wait for messages, at most a second, and yield those that have come."""

    def _hear_signal(self) -> Iterator[Heard]:
        """Handle a new signal, if there is one: the first asks jobs to save, a further one ends them."""
        if self._interrupts is None or not wait([self._interrupts.fileno()], timeout=0):
            return
        self._interrupts.clear()
        self.stop()
        if self._interrupts.urgent:
            for running in self._list_running():
                running.end()
        yield None, {"kind": "stopping"}

    def _conclude(self, running: RunningJob, end: wire.Message) -> wire.Message:
        """Return the final ``end`` message of a job: its verdict if it was killed; ``stopped`` if a stop ended it."""
        if end.get("cause") == "lost":
            end = {**end, "status": "stopped" if self.stopping else "failed"}
        return running.verdict or end

    def stop(self) -> None:
        """Start no more jobs, ask running trials to save and return, and kill the other jobs."""
        if not self.stopping:
            self.stopping = True
            self._pending.clear()
            self._stop_running()

    @abstractmethod
    def _stop_running(self) -> None: ...

    def kill(self, job: Job, error: str, cause: str) -> None:
        """End a running job now; its ``end`` message is ``failed`` with this error and cause."""
        for running in self._list_running():
            if running.job is job:
                running.verdict = {"kind": "end", "status": "failed", "error": error, "cause": cause}
                running.end()
