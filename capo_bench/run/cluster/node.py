"""Run a job on a node of the cluster, in a separate worker process.

The Ray task is a relay to a `LocalExecutor` of one worker, so a job runs as on a single machine: in its own process
group, which a kill ends completely, and with thread counts that are set before any import. Relay and worker run one job
after another, so modules are imported only once.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capo_bench.run import wire
from capo_bench.run.cluster.control import Orders
from capo_bench.run.executor import Job
from capo_bench.run.pool import LocalExecutor
from capo_bench.store.errors import RunError

_kept: dict[tuple[object, ...], LocalExecutor] = {}
"""The executor of this relay, by the settings that its worker was started with."""


def run_on_node(job: Job, key: str, threads: int, log: Path, control: Any) -> Iterator[list[wire.Message]]:
    """Run a job on this node, and yield its messages in batches; the last message is its ``end``.

    Args:
        job: The job. Its paths lead to the results folder on every node.
        key: Identifies the job to the `Control` actor.
        threads: Processor threads of the job.
        log: File for output that workers print outside of jobs.
        control: The `Control` actor.
    """
    import ray

    yield [{"kind": "start", "node": str(ray.get_runtime_context().get_node_id())}]
    try:
        _check_shared(job.home, log.parent)
        yield from _relay(job, _get_executor(threads, log), Orders(control, key))
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


def _relay(job: Job, executor: LocalExecutor, orders: Orders) -> Iterator[list[wire.Message]]:
    batch: list[wire.Message] = []
    ended = False
    executor.submit(job)
    try:
        for heard, message in executor.events():
            if heard is not None and message["kind"] != "start":
                batch.append(message)
                ended = message["kind"] == "end"
            elif batch:
                yield batch
                batch = []
            order = orders.news()
            if order == "stop":
                executor.stop()
            elif order == "kill":
                executor.kill(job, "it was killed", "lost")
    finally:
        # Also runs when the task is cancelled. An executor that was stopped starts no more jobs.
        if not ended or executor.stopping:
            _drop_executor()


def _get_executor(threads: int, log: Path) -> LocalExecutor:
    # Ray assigns accelerators through this variable, and a running process has already read it.
    settings = (threads, log, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if settings not in _kept:
        _drop_executor()
        _kept[settings] = LocalExecutor(1, threads, log)
    return _kept[settings]


def _drop_executor() -> None:
    while _kept:
        _kept.popitem()[1].__exit__()
