"""Run jobs on the machines of a Ray cluster, or on this machine through Ray.

Ray places and starts a job but does not retry it. Messages of a job arrive as the stream of its task's results; orders
to a job go through an actor on the runner's node.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from capo_bench.run import wire
from capo_bench.run.cluster.connection import connect_to
from capo_bench.run.cluster.placing import Cluster, build_lost_message
from capo_bench.run.devices import count_cores, list_visible_gpus
from capo_bench.run.executor import Executor, Heard, Job

if TYPE_CHECKING:
    from capo_bench.process.interrupt import Interrupts
    from capo_bench.study.served import ServedCritic

POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
"""Seconds that a node has to end a killed job; after that, Ray cancels it or it is lost with its node."""


@dataclass(eq=False)
class _Running:
    """A job that was submitted to Ray."""

    job: Job
    key: str
    stream: Any
    cluster: Cluster
    node: str = ""
    verdict: wire.Message | None = None
    end_by: float | None = None

    def end(self) -> None:
        """Ask the job's node to end it now."""
        self.end_by = self.end_by or time.monotonic() + KILL_SECONDS
        self.cluster.order("kill", self.key)


class RayExecutor(Executor):
    """Runs jobs as Ray tasks; it is connected to Ray while its context is open.

    Args:
        count: Number of parallel jobs; None: as many as the nodes have cores and accelerators for.
        threads: Processor threads of each job.
        log: File for output that workers print outside of jobs.
        interrupts: See `Executor`.
        address: Address of a cluster whose nodes see the results folder at the same path; None: a separate Ray instance
            on this machine.
    """

    def __init__(self, count: int | None, threads: int, log: Path, interrupts: Interrupts, address: str | None) -> None:
        super().__init__(interrupts)
        self._count, self._threads, self._log = count, threads, log.absolute()
        self._address = address
        self._running: list[_Running] = []
        self._lost_on: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as context:
            cores = max(count_cores(), self._threads * (self._count or 1))
            context.enter_context(connect_to(self._address, cores))
            self._cluster = Cluster(self._threads, self._log)
            self._context = context.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if self._running:
            self._cluster.order("kill")
            self._cluster.wait_all([running.stream for running in self._running], seconds=3.0)
        self._context.close()

    def hold(self, critics: Sequence[ServedCritic]) -> dict[ServedCritic, list[str]]:
        """Reserve GPUs of this machine for critic servers; see `Executor.hold`."""
        own = {critic: self._cluster.hold(critic) for critic in critics if critic.serve.gpus}
        return {
            critic: own.get(critic) or list_visible_gpus()[: critic.serve.tensor_parallel_size] for critic in critics
        }

    def _stop_running(self) -> None:
        self._cluster.order("stop")
        for running in [running for running in self._running if not running.node]:
            self._cluster.cancel(running.stream, force=False)
            self._running.remove(running)

    def _start(self) -> Iterable[Heard]:
        """Submit jobs; they have started when their first message comes."""
        now = time.monotonic()
        for due, job in list(self._pending):
            if due > now:
                continue
            room = self._cluster.room(job)
            if len(self._running) >= (room if self._count is None else min(self._count, room)):
                break
            self._pending.remove((due, job))
            self._running.append(self._submit_task(job))
        return ()

    def _list_running(self) -> list[_Running]:
        return self._running

    def _submit_task(self, job: Job) -> _Running:
        key = uuid.uuid4().hex
        paths = {name: getattr(job, name).absolute() for name in ("home", "log", "lock")}
        avoid = self._lost_on.get(job.trial.id)
        stream = self._cluster.start(replace(job, **paths), key, avoid)
        return _Running(job, key, stream, self._cluster)

    def _listen(self) -> Iterator[Heard]:
        yield from self._hear_signal()
        if not self._running:
            time.sleep(POLL_SECONDS)
            return
        ready = self._cluster.ready([running.stream for running in self._running], POLL_SECONDS)
        for running in [running for running in self._running if running.stream in ready]:
            yield from self._hear(running, self._cluster.next(running.stream))
        yield from self._give_up()

    def _hear(self, running: _Running, batch: list[wire.Message]) -> Iterator[Heard]:
        for message in batch:
            if not running.node:
                running.node = message.get("node", "unknown")
                yield running.job, {"kind": "start"}
            if message["kind"] == "end":
                yield running.job, self._end(running, message)
            elif message["kind"] != "start":
                yield running.job, message

    def _end(self, running: _Running, end: wire.Message) -> wire.Message:
        """Remove an ended job; return its final end message."""
        if end.get("cause") == "lost":
            self._lost_on[running.job.trial.id] = running.node
        self._running.remove(running)
        return self._conclude(running, end)

    def _give_up(self) -> Iterator[Heard]:
        """End jobs that their node has not ended in time."""
        for running in [running for running in self._running if running.end_by and running.end_by < time.monotonic()]:
            self._cluster.cancel(running.stream, force=True)
            yield from self._hear(running, [build_lost_message("its node did not end it in time")])
