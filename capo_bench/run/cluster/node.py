"""Run a job on a node of the cluster, in a separate worker process.

The Ray task is a relay. The job runs in a process of `capo_bench.run.worker`, as on a single machine: it has its own
process group, which a kill ends completely, and its thread counts are set before any import. Relay and process run one
job after another, so modules are imported only once.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from capo_bench.run import wire
from capo_bench.run.cluster.control import Orders
from capo_bench.run.executor import Job
from capo_bench.run.pool import Worker
from capo_bench.store.errors import RunError

POLL_SECONDS = 0.1

_kept: dict[tuple[object, ...], Worker] = {}
"""The worker process of this relay, by the settings that it was started with."""


@dataclass(frozen=True)
class NodeTerms:
    """Settings that all jobs of a run share.

    Attributes:
        threads: Processor threads of each job.
        log: File for output that workers print outside of jobs.
        control: The `Control` actor.
    """

    threads: int
    log: Path
    control: Any


def run_on_node(job: Job, key: str, terms: NodeTerms) -> Iterator[list[wire.Message]]:
    """Run a job on this node. The paths of the job lead to the results folder on every node.

    Yields its messages in batches; the last message is its ``end``. `key` identifies the job to the `Control` actor.
    """
    import ray

    yield [{"kind": "start", "node": str(ray.get_runtime_context().get_node_id())}]
    try:
        _check_shared(job.home, terms.log.parent)
        yield from _relay(job, _get_worker(terms.threads, terms.log), Orders(terms.control, key))
    except (RunError, OSError) as error:  # no process can be started, or the results folder is missing
        yield [{"kind": "end", "status": "failed", "error": str(error), "cause": "other"}]


def _check_shared(home: Path, study: Path) -> None:
    """Refuse to run on a node that does not see the results folder: its results would be lost.

    Raises:
        RunError: The study's folder, which the run has created, does not exist here.
    """
    if not study.is_dir():
        raise RunError(
            f"this node of the Ray cluster ({socket.gethostname()}) does not see the run's results folder {home}; put "
            "it on a disk that all nodes share, at one path (--home), or leave out --executor ray"
        )


def _relay(job: Job, worker: Worker, orders: Orders) -> Iterator[list[wire.Message]]:
    try:
        worker.start(job)
        while worker.job:
            wait([worker.connection, worker.ended], timeout=POLL_SECONDS)
            batch = _hear(worker, orders)
            if batch:
                yield batch
            _obey(orders, worker)
    finally:
        # Also runs when the task is cancelled. A failure can leave the process unusable, so the next job gets a new
        # one.
        if worker.job or worker.verdict:
            _retire(worker)


def _hear(worker: Worker, orders: Orders) -> list[wire.Message]:
    batch: list[wire.Message] = []
    try:
        while worker.job and (message := worker.hear()) is not None:
            batch.append(message)
            if message["kind"] == "end":
                worker.job = None
                worker.verdict = message if message["status"] == "failed" else None
    except EOFError:
        worker.job = None
        worker.verdict = {"kind": "end", "status": "stopped" if orders.last else "failed"}
        batch.append({**worker.verdict, "error": _retire(worker), "cause": "lost"})
    return batch


def _obey(orders: Orders, worker: Worker) -> None:
    order = orders.news()
    if not order or not worker.job:
        return
    if order == "stop" and worker.job.do == "trial":
        worker.ask_to_stop()
    else:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)


def _get_worker(threads: int, log: Path) -> Worker:
    # Ray assigns accelerators through this variable, and a running process has already read it.
    settings = (threads, log, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if settings not in _kept:
        for worker in list(_kept.values()):
            _retire(worker)
        _kept[settings] = Worker(threads, log)
    return _kept[settings]


def _retire(worker: Worker) -> str:
    for settings, kept in list(_kept.items()):
        if kept is worker:
            del _kept[settings]
            return worker.kill()
    return ""
