"""Make processes end when the process that started them ends, for any reason."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_GUARD = "trap '' HUP INT TERM; read -r _; kill -s KILL -- -$1"


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent dies; exit now if the parent is already dead.

    Args:
        parent: Process id of the parent. For the kernel, the parent dies when the thread that started this process
            ends.
        number: The signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def end_group_with(lifeline: int) -> None:
    """Start a guard that kills the process group led by this process when a pipe has no writer left.

    The guard is a shell in the group. It works even if this process is busy or dead.

    Args:
        lifeline: The reading end of the pipe. Only the process that the group must end with holds the writing end.
    """
    command = ["sh", "-c", _GUARD, "sh", str(os.getpid())]
    os.posix_spawn("/bin/sh", command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, lifeline, 0)])
    os.close(lifeline)


def describe_end(code: int) -> str:
    """Return how a process ended, from its exit code, as the end of a sentence."""
    if code >= 0:
        return f"ended with exit code {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def main() -> None:
    """Replace this process with another program and kill its group at a pipe's end: ``LIFELINE PROGRAM ARGUMENT…``."""
    end_group_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the harness itself names


if __name__ == "__main__":
    main()
