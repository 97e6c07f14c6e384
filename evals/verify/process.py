"""The parent's side of one worker process: start it, hand it answers, watch it, kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Literal

from evals.clock import read_seconds
from evals.verify.walk import Value

Word = Literal["right", "wrong", "timeout", "memory", "crash"]

WALL = 10
"""An answer is ended after this many deadlines by the clock: a busy machine must not decide, and a process that sleeps
must not delay the others."""

_WORKER = Path(__file__).with_name("worker.py")
_ADDRESS_SPACE = 4
"""Address space as a multiple of the memory limit: a second limit. Beyond it, allocations fail inside the worker, where
math-verify hides the failure. The memory limit itself is on resident memory, which the parent watches."""


class WorkerProcess:
    """One process that compares answers, and the tasks it holds.

    Attributes:
        in_flight: Indices of the tasks it was given and has not answered; it is busy with the first.
        ready: Whether it has finished its imports.
    """

    def __init__(self, deadline_s: float, memory: int) -> None:
        self.pipe, theirs = Pipe()
        self.in_flight: deque[int] = deque()
        self.ready = False
        self._since, self._worked = time.monotonic(), 0.0
        limits = [str(deadline_s), str(memory), str(_ADDRESS_SPACE * memory)]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", str(_WORKER), str(theirs.fileno()), str(os.getpid()), *limits],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONHASHSEED": "0"},  # sympy orders by hash in places
                process_group=0,  # Ctrl-C in a terminal is for the parent
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def busy_seconds(self) -> float:
        """Seconds since it was started, last answered or was given work."""
        return time.monotonic() - self._since

    def cpu_seconds(self) -> float:
        """Return the processor time it has taken in all; 0 where the system does not tell or it is gone."""
        return read_seconds(str(self.pid))

    def overdue(self, deadline_s: float) -> bool:
        """Return whether its answer took over `deadline_s` of processor time, or `WALL` times that by the clock."""
        wall = self.busy_seconds
        if wall <= deadline_s:
            return False
        cpu = self.cpu_seconds()
        return wall > WALL * deadline_s or not cpu or cpu - self._worked > deadline_s

    def resident_bytes(self) -> int:
        """Return its resident memory in bytes; 0 where the system does not tell or it is gone."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def give(self, tasks: Sequence[tuple[int, tuple[Value, Value]]]) -> bool:
        """Hand over tasks (index, (answer, reference)); False if the process is dead, which then holds none."""
        try:
            self.pipe.send_bytes(json.dumps([pair for _, pair in tasks]).encode())
        except OSError:
            return False
        self.in_flight.extend(index for index, _ in tasks)
        self._since, self._worked = time.monotonic(), self.cpu_seconds()
        return True

    def take(self) -> str | None:
        """Receive its next word and restart the clock; None if it died."""
        try:
            word: str = json.loads(self.pipe.recv_bytes())
        except (EOFError, OSError):
            return None
        self._since, self._worked = time.monotonic(), self.cpu_seconds()
        return word

    def end(self) -> Word:
        """Kill it if it lives, and return what its death means for the answer it was busy with."""
        self._process.kill()
        code = self._process.wait()
        self.pipe.close()
        return "timeout" if code == -signal.SIGPROF else "crash"
