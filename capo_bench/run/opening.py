"""Opening what runs the jobs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.run.executor import Executor
from capo_bench.run.interrupt import Interrupts

if TYPE_CHECKING:
    from capo_bench.run.runner import RunOptions


def open_executor(options: RunOptions, workers: int, threads: int, log: Path, interrupts: Interrupts) -> Executor:
    """Return the executor of the options, to be entered.

    Args:
        options: Which one.
        workers: Jobs at a time.
        threads: Processor threads of each.
        log: File for what workers print outside of jobs.
        interrupts: The signals that stop it.

    Raises:
        RunError: It cannot be reached or is not installed.
    """
    from capo_bench.run.pool import LocalExecutor

    return LocalExecutor(workers, threads, log, interrupts)
