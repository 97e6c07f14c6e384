"""What runs jobs: worker processes of this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

from capo_bench.run import wire
from capo_bench.run.attempt import Attempt

if TYPE_CHECKING:
    from capo_bench.process.interrupt import Interrupts
    from capo_bench.run.runner import RunOptions
    from capo_bench.study.identity import SharedKind
    from capo_bench.study.plan import Trial
    from capo_bench.study.served import ServedCritic


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
        gpus: Accelerators that it needs.
        attempt: How it is tried.
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


class Executor(Protocol):
    """Runs jobs in parallel. A context, at whose end nothing of it is left: no process, no port."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def hold(self, critics: Sequence[ServedCritic]) -> dict[ServedCritic, list[str]]:
        """Return the GPUs of each critic's server, as CUDA_VISIBLE_DEVICES names them; no job is given one of its own.

        Raises:
            RunError: The critics ask for more than this machine has.
        """

    def submit(self, job: Job, delay: float = 0.0) -> None:
        """Owe a job, to be started `delay` seconds from now at the earliest; ignored after `stop`."""

    def events(self, more: Callable[[], bool]) -> Iterator[tuple[Job | None, wire.Message]]:
        """Run what was submitted, also while this goes on; yield what is heard until nothing is pending or running.

        `more` is asked then: true while something may still be submitted, unless the executor is stopped.

        With a job: ``{"kind": "start"}``, whatever the task emits (`capo_bench.run.stages`), and ``{"kind": "end",
        "status": "done" | "stopped" | "failed", "error"?, "cause"?}`` (`capo_bench.run.failures`), after which nothing
        more is said of it. Without a job: ``{"kind": "tick"}`` at least once a second, and ``{"kind": "stopping"}`` at
        the first signal.
        """

    def stop(self) -> None:
        """Start nothing more, ask running jobs to save and return, kill those that cannot."""

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
    """Return the executor of the options, to be entered.

    Args:
        options: Which one.
        workers: Jobs at a time.
        threads: Processor threads of each.
        log: File for what workers print outside of jobs.
        interrupts: The signals that stop it.
        gpus: Those of this machine that its jobs may use; None: it says nothing about them.

    Raises:
        RunError: It cannot be reached or is not installed.
    """
    if options.executor == "ray":
        from capo_bench.run.cluster.executor import RayExecutor

        return RayExecutor(options.workers, threads, log, interrupts, options.address)
    from capo_bench.run.pool import LocalExecutor

    return LocalExecutor(workers, threads, log, interrupts, gpus)
