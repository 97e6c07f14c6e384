"""What a node of the cluster does of a job: it runs it in a worker process of its own.

The Ray task is a relay. The job runs in a process of `capo_bench.run.worker`, as it does on a single machine: with its
own process group, which a kill ends whole, and with its thread counts set before any import. Relay and process serve
one job after another, so that what they import is imported once.
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
"""The worker process of this relay, by what it was started with."""


@dataclass(frozen=True)
class NodeTerms:
    """What a run has in common for its jobs: `log` gets what workers print outside of jobs, `control` is an actor."""

    threads: int
    log: Path
    control: Any


def run_on_node(job: Job, key: str, terms: NodeTerms) -> Iterator[list[wire.Message]]:
    """Run a job, whose paths lead to the results folder on every node, on this one.

    Yields what is heard of it, in batches; the last message is its ``end``. `key` is its name at the control.
    """
    import ray

    yield [{"kind": "start", "node": str(ray.get_runtime_context().get_node_id())}]
    try:
        _check_shared(job.home, terms.log.parent)
        yield from _relay(job, _worker(terms.threads, terms.log), Orders(terms.control, key))
    except (RunError, OSError) as error:  # no process can be started, or the results folder is not there
        yield [{"kind": "end", "status": "failed", "error": str(error), "cause": "other"}]


def _check_shared(home: Path, study: Path) -> None:
    """Refuse a node that does not see the run's results folder: nobody would read what it writes.

    Raises:
        RunError: The study's folder, which the run has made, is not there.
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
            batch = _heard(worker, orders)
            if batch:
                yield batch
            _obey(orders, worker)
    finally:
        # Also when the task is cancelled; a failure may leave the process unfit, so the next job gets a fresh one.
        if worker.job or worker.verdict:
            _retire(worker)


def _heard(worker: Worker, orders: Orders) -> list[wire.Message]:
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


def _worker(threads: int, log: Path) -> Worker:
    # Ray gives a task its accelerators by this variable, and a process that runs has read it already.
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
