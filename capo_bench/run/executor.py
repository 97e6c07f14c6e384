"""What runs jobs: worker processes of this machine, or a cluster."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from capo_bench.run import wire

if TYPE_CHECKING:
    from capo_bench.process.interrupt import Interrupts
    from capo_bench.run.runner import RunOptions
    from capo_bench.study.identity import SharedKind
    from capo_bench.study.plan import Trial
    from capo_bench.study.served import ServedCritic


CHECKPOINT_SECONDS = 300.0


@dataclass(frozen=True)
class Attempt:
    """One try of a trial: what may change from one to the next without changing the result.

    Attributes:
        number: 1 for the first.
        micro_batch: Rollouts of a micro-batch where it is not the trial's own: halved after out of memory. The gradient
            is the same sum in another order.
        checkpoint_seconds: At least so many seconds lie between two checkpoints; 0: one after every step.
    """

    number: int = 1
    micro_batch: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS


@dataclass(frozen=True)
class Job:
    """One call of a task in a worker.

    Attributes:
        do: ``"trial"``, or the kind of a shared model. A trial can stop early and be resumed; a shared model cannot,
            so it is killed instead.
        task: ``"module:function"``.
        lock: File that is locked while the job runs, so that two studies that share it do it once.
        rank: Of the jobs that are due, those with the smallest are started first.
        critic_url: Where the server of the trial's critic is, if the run has started one.
        memory_taken: Share of the memory of its GPUs that servers of critics have taken.
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
        """Return the job as it goes to a worker: plain data."""
        paths = {name: str(getattr(self, name).absolute()) for name in ("home", "log", "lock")}
        named = ("do", "task", "keep_critiques", "gpus", "critic_url", "memory_taken")
        plain = {name: getattr(self, name) for name in named}
        return {**plain, "trial": self.trial.as_json(), "attempt": asdict(self.attempt), **paths}


class Executor(ABC):
    """Runs jobs in parallel, until signals stop it. A context, at whose end nothing is left: no process, no port."""

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._pending: list[tuple[float, Job]] = []
        self.stopping = False

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *error: object) -> None: ...

    @abstractmethod
    def hold(self, critics: Sequence[ServedCritic]) -> dict[ServedCritic, list[str]]:
        """Return the GPUs of each critic's server, as CUDA_VISIBLE_DEVICES names them; no job is given one of its own.

        Raises:
            RunError: The critics ask for more than this machine has.
        """

    def submit(self, job: Job, delay: float = 0.0) -> None:
        """Owe a job, to be started `delay` seconds from now at the earliest; ignored after `stop`."""
        if not self.stopping:
            insort(self._pending, (time.monotonic() + delay, job), key=lambda pending: pending[1].rank)

    @abstractmethod
    def events(self, more: Callable[[], bool] = lambda: False) -> Iterator[tuple[Job | None, wire.Message]]:
        """Run what was submitted, also while this goes on; yield what is heard until nothing is pending or running.

        `more` is asked then: true while something may still be submitted, unless the executor is stopped.

        With a job: ``{"kind": "start"}``, whatever the task emits (`capo_bench.run.stages`), and ``{"kind": "end",
        "status": "done" | "stopped" | "failed", "error"?, "cause"?}`` (`capo_bench.run.failures`), after which nothing
        more is said of it. Without a job: ``{"kind": "tick"}`` at least once a second, and ``{"kind": "stopping"}`` at
        the first signal.
        """

    def stop(self) -> None:
        """Start nothing more, ask running jobs to save and return, kill those that cannot."""
        if not self.stopping:
            self.stopping = True
            self._pending.clear()
            self._stop_running()

    @abstractmethod
    def _stop_running(self) -> None: ...

    @abstractmethod
    def kill(self, job: Job, error: str, cause: str) -> None:
        """End a running job now; its ``end`` says ``failed`` with this error and cause."""


def open_executor(  # noqa: PLR0913, PLR0917 - what executors are given
    options: RunOptions,
    workers: int,
    threads: int,
    log: Path,
    interrupts: Interrupts,
    gpus: Sequence[str] | None = None,
) -> Executor:
    """Return the executor of the options, to be entered, for so many jobs at a time.

    `log` gets what workers print outside of jobs. Jobs may use these `gpus` of this machine; None: it says nothing
    about them.

    Raises:
        RunError: It cannot be reached or is not installed.
    """
    if options.executor == "ray":
        from capo_bench.run.cluster.executor import RayExecutor

        return RayExecutor(options.workers, threads, log, interrupts, options.address)
    from capo_bench.run.pool import LocalExecutor

    return LocalExecutor(workers, threads, log, interrupts, gpus)
