"""One of the processes that do work of a trial apart from the worker.

Started as ``python -m capo_bench.run.work FOLDER``, by the worker or by the launcher (`capo_bench.run.launch`). The
folder is where it and the worker talk, in files: ``job.json`` says what is to be done, the first process appends to
``events.jsonl`` what there is to tell, ``stop`` asks all to save and return, ``error-<rank>.json`` says why one failed,
``result.json`` that the first one has come to its end.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from capo_bench.process.orphans import die_with
from capo_bench.run.failures import cause_of
from capo_bench.run.worker import NEW_OBJECTS, summary
from capo_bench.store.home import read_json, write_json

PARENT = "CAPO_BENCH_PARENT"
"""Environment variable with the id of the process that a process here dies with."""

JOB, EVENTS, STOP, RESULT = "job.json", "events.jsonl", "stop", "result.json"

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Work:
    """What processes are to do.

    Attributes:
        task: ``"module:function"``. The function takes the settings, the process's number, a function that tells the
            worker of something (silent in all processes but the first) and one that says whether to save and return; it
            returns True when the work is done, False when it was stopped.
        settings: Plain values.
    """

    task: str
    settings: dict[str, Any]


def work(folder: Path, rank: int) -> bool:
    """Do this process's part of the work of a folder; True when it is done, False when it was stopped."""
    with (folder / EVENTS).open("a", encoding="utf-8") as events:

        def emit(message: dict[str, Any]) -> None:
            if rank == 0:
                events.write(json.dumps(message, default=float) + "\n")
                events.flush()

        job = Work(**read_json(folder / JOB))
        sys.stderr.write(f"--- process {os.getpid()} of {os.getppid()}: {job.task}\n")
        return bool(resolve_name(job.task)(job.settings, rank, emit, (folder / STOP).exists))


def main() -> None:
    """Work, and leave word of how it ended."""
    gc.set_threshold(NEW_OBJECTS)
    folder, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    die_with(int(os.environ[PARENT]))
    try:
        finished = work(folder, rank)
    except BaseException as error:
        traceback.print_exc()
        write_json(
            folder / f"error-{rank}.json", {"error": summary(error), "cause": cause_of(error), "time": time.time()}
        )
        # Not by way of the interpreter's end: that may wait for a process group which others have left.
        sys.stderr.flush()
        os._exit(1)
    if rank == 0:
        write_json(folder / RESULT, {"finished": finished})


if __name__ == "__main__":
    main()
