"""A process that does work of a trial outside of the worker.

The worker or the launcher (`capo_bench.run.launch`) starts it as ``python -m capo_bench.run.work FOLDER``. It
communicates with the worker through files in the folder: ``job.json`` names the task and its settings, the first
process appends messages to ``events.jsonl``, the file ``stop`` asks all processes to save and return,
``error-<rank>.json`` describes the failure of a process, and ``result.json`` shows that the first process has finished.

A task is a function, ``"module:function"``. It takes its settings (plain values), the rank of the process, a function
that sends a message to the worker (without effect except in the first process), and a function that returns whether to
save and return. It returns True when the work is done, False when it was stopped.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from capo_bench.process.orphans import die_with
from capo_bench.run.failures import find_cause
from capo_bench.run.worker import NEW_OBJECTS, summarize_error
from capo_bench.store.home import read_json, write_json

PARENT = "CAPO_BENCH_PARENT"
"""Environment variable with the id of the parent process; the process ends when its parent ends."""

JOB, EVENTS, STOP, RESULT = "job.json", "events.jsonl", "stop", "result.json"


def work(folder: Path, rank: int) -> bool:
    """Do this process's part of the work in a folder; return True when it is done, False when it was stopped."""
    with (folder / EVENTS).open("a", encoding="utf-8") as events:

        def emit(message: dict[str, Any]) -> None:
            if rank == 0:
                events.write(json.dumps(message, default=float) + "\n")
                events.flush()

        job = read_json(folder / JOB)
        sys.stderr.write(f"--- process {os.getpid()} of {os.getppid()}: {job['task']}\n")
        return bool(resolve_name(job["task"])(job["settings"], rank, emit, (folder / STOP).exists))


def main() -> None:
    """Do the work and write a result or error file."""
    gc.set_threshold(NEW_OBJECTS)
    folder, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    die_with(int(os.environ[PARENT]))
    try:
        finished = work(folder, rank)
    except BaseException as error:
        traceback.print_exc()
        write_json(
            folder / f"error-{rank}.json",
            {"error": summarize_error(error), "cause": find_cause(error), "time": time.time()},
        )
        # Exit without Python's shutdown, which may wait for a process group that other processes have left.
        sys.stderr.flush()
        os._exit(1)
    if rank == 0:
        write_json(folder / RESULT, {"finished": finished})


if __name__ == "__main__":
    main()
