"""One of the processes that train a trial together.

Started by the launcher (`capo_bench.run.launch`) as ``python -m capo_bench.run.rank FOLDER``. The folder is where it
and the worker that wants the training talk, in files: ``job.json`` says what is trained, ``stop`` asks all to save and
return, ``error-<rank>.json`` says why one failed, ``result.json`` that the first one has come to its end.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from capo_bench.home import TrialFolder, read_json, write_json
from capo_bench.run.attempt import Attempt
from capo_bench.run.failures import cause_of
from capo_bench.run.orphans import die_with
from capo_bench.run.threads import fix_threads
from capo_bench.run.training import Training, train_here
from capo_bench.run.worker import summary
from capo_bench.study.plan import Trial

LAUNCHER = "CAPO_BENCH_LAUNCHER"
"""Environment variable with the launcher's process id."""

JOB, STOP, RESULT = "job.json", "stop", "result.json"
PATHS = ("critic", "prm", "critiques")
"""What of a `Training` is a folder, or None."""


def write_job(training: Training, folder: Path) -> None:
    """Write down what the processes are to do."""
    paths = {name: getattr(training, name) for name in PATHS}
    plain: dict[str, Any] = {
        "trial": training.trial.as_json(),
        "folder": str(training.folder.path),
        "start": training.start,
        "resume": training.resume,
        "attempt": asdict(training.attempt),
    }
    write_json(folder / JOB, plain | {name: path and str(path) for name, path in paths.items()})


def read_job(folder: Path) -> Training:
    """Return what `write_job` wrote down."""
    job = read_json(folder / JOB)
    paths = {name: Path(job[name]) if job[name] else None for name in PATHS}
    return Training(
        trial=Trial.from_json(job["trial"]),
        folder=TrialFolder(Path(job["folder"])),
        start=job["start"],
        resume=job["resume"],
        attempt=Attempt(**job["attempt"]),
        **paths,
    )


def train_rank(folder: Path, rank: int) -> bool:
    """Train this process's part; true when the trained model is there, False when all were stopped.

    The first process writes the records of the steps, each on the disk before a checkpoint after it is marked.
    """
    training = read_job(folder)
    fix_threads(training.trial)
    with training.folder.steps.open("a", encoding="utf-8") as log:

        def record(step: dict[str, Any]) -> None:
            if rank == 0:
                log.write(json.dumps(step, default=float) + "\n")
                log.flush()
                os.fsync(log.fileno())

        return train_here(training.run(record, (folder / STOP).exists))


def main() -> None:
    """Train, and leave word of how it ended."""
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    die_with(int(os.environ[LAUNCHER]))
    try:
        finished = train_rank(folder, rank)
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
