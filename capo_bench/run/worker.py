"""The worker process: it starts once, runs one job after another for the runner, and ends with the runner.

It is started as ``python -m capo_bench.run.worker CONNECTION LIFELINE`` with two file descriptors. Output of a job,
from Python or from C, goes to the job's log and never to the terminal, which the progress display uses.
"""

from __future__ import annotations

import gc
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from capo_bench.process.contexts import keep_environment
from capo_bench.process.interrupt import SIGNALS
from capo_bench.process.orphans import end_group_with
from capo_bench.run import wire
from capo_bench.run.executor import Attempt
from capo_bench.run.failures import advise, find_cause
from capo_bench.run.logs import rotate_regularly
from capo_bench.store.home import Home
from capo_bench.store.lock import wait_for_lock
from capo_bench.track.redact import redact

NEW_OBJECTS = 50_000
"""New objects before Python's garbage collector runs; with the default of 700, importing TRL takes a quarter longer."""


class Link:
    """The worker's end of the connection: receives jobs and the request to stop, sends messages.

    `lost` is called in a thread when the runner is gone.
    """

    def __init__(self, connection: Connection, lost: Callable[[], None] = lambda: None) -> None:
        self._connection, self._lost = connection, lost
        self._jobs: queue.SimpleQueue[wire.Message | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def jobs(self) -> Iterator[wire.Message]:
        """Yield jobs until the runner closes the connection."""
        while (job := self._jobs.get()) is not None:
            yield job

    def emit(self, message: dict[str, Any]) -> None:
        """Send a message about the running job to the runner."""
        wire.send(self._connection, message)

    def stop(self) -> bool:
        """Return whether the runner asked the job to save and return."""
        return self._stop.is_set()

    def _listen(self) -> None:
        while True:
            try:
                message = wire.receive(self._connection)
            except (EOFError, OSError):
                self._lost()
                return self._jobs.put(None)
            if message["do"] == "stop":
                self._stop.set()
            else:
                self._jobs.put(message)


def run_job(job: wire.Message, emit: Callable[[dict[str, Any]], None], stop: Callable[[], bool]) -> dict[str, Any]:
    """Run a job under its lock and return its outcome.

    Returns:
        ``{"status"}``; for a failed job also ``"error"``, its ``"cause"`` (`capo_bench.run.failures`) and the
        ``"stage"`` in which it failed. A failed job is data, not an exception.
    """
    stage = ""

    def tell(message: dict[str, Any]) -> None:
        nonlocal stage
        stage = message["stage"] if message["kind"] == "stage" else stage
        emit(message)

    try:
        with (
            keep_environment(),  # the next job must not see changes that libraries make
            wait_for_lock(Path(job["lock"]), stop, lambda: tell({"kind": "stage", "stage": "waiting"})) as held,
        ):
            return {"status": "done" if held and _call(job, tell, stop) else "stopped"}
    except BaseException as error:
        traceback.print_exc()
        return {"status": "failed", "stage": stage, **_describe_failure(error, stage, job)}


def _describe_failure(error: BaseException, stage: str, job: wire.Message) -> dict[str, str]:
    from trainers.config import TrialConfig

    cause, reason = find_cause(error), summarize_error(error)
    config = TrialConfig.model_validate(job["trial"]["config"])
    hint = advise(cause, stage, config, job["attempt"]["micro_batch"])
    return {"error": f"{hint} ({reason})" if hint else reason, "cause": cause}


def summarize_error(error: BaseException) -> str:
    """Return the type and first line of an error, at most 300 characters, with secrets redacted."""
    lines = str(error).strip().splitlines()
    return redact(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__)[:300]


def _call(job: wire.Message, emit: Callable[[dict[str, Any]], None], stop: Callable[[], bool]) -> bool:
    from capo_bench.study.plan import Trial
    from trainers.critics.serve import TAKEN, URL

    trial, home = Trial.from_json(job["trial"]), Home(Path(job["home"]), job["keep_critiques"])
    os.environ |= {URL: job["critic_url"], TAKEN: str(job["memory_taken"])}
    task = resolve_name(job["task"])
    if job["do"] != "trial":
        task(job["do"], trial, home, emit)
        return True
    # Another study may have finished the trial while this job waited for the lock.
    if home.trial(trial.id).done:
        return True
    finished = bool(task(trial, home, emit, stop, Attempt(**job["attempt"])))
    if finished and not home.trial(trial.id).done:
        raise RuntimeError(f"the trial ended but left no {home.trial(trial.id).metrics}")
    return finished


@contextmanager
def redirect_output(log: Path) -> Iterator[None]:
    """Redirect standard output and error, including their file descriptors, to the end of a file.

    Raises:
        OSError: The file cannot be opened.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, old in zip((1, 2), saved, strict=True):
            os.dup2(old, descriptor)
            os.close(old)


def main() -> None:
    """Serve the runner whose connection is named on the command line."""
    gc.set_threshold(NEW_OBJECTS)
    descriptor, lifeline = int(sys.argv[1]), int(sys.argv[2])
    end_group_with(lifeline)
    # Schedulers signal every process of a job. The runner gets the signal too and asks this process to save. SIG_IGN is
    # not used because processes that a job starts would inherit it.
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: None)
    os.set_inheritable(descriptor, False)
    # The guard of the process group does this too, and sooner if a job keeps Python busy, but it can be killed together
    # with the runner.
    link = Link(Connection(descriptor), lost=lambda: os.killpg(0, signal.SIGKILL))
    for job in link.jobs():
        try:
            with redirect_output(Path(job["log"])), rotate_regularly(Path(job["log"])):
                sys.stderr.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {job['do']} {job['trial']['id']}\n")
                end = run_job(job, link.emit, link.stop)
        except OSError as error:
            end = {"status": "failed", "error": summarize_error(error), "cause": find_cause(error)}
        link.emit({"kind": "end", **end})


if __name__ == "__main__":
    main()
