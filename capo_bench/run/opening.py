"""Opening what runs the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.process.interrupt import Interrupts
from capo_bench.run.executor import Executor

if TYPE_CHECKING:
    from capo_bench.run.runner import RunOptions


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
