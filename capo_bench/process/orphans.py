"""Processes that do not outlive the one that started them, whatever ends that one."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_GUARD = "trap '' HUP INT TERM; read -r _; kill -s KILL -- -$1"


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent dies; exit now if that has already happened.

    Args:
        parent: Process id of the parent. It dies, to the kernel, with the thread that started this process.
        number: The signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit("the process that started this one is gone")


def end_group_with(lifeline: int) -> None:
    """Have the group that this process leads killed, with all that was started in it, once a pipe has no writer left.

    A shell in the group waits for that: it does not depend on what this process is busy with, nor on whether it lives.

    Args:
        lifeline: The pipe's end for reading. The other end is held by the process to die with, and by no other.
    """
    command = ["sh", "-c", _GUARD, "sh", str(os.getpid())]
    os.posix_spawn("/bin/sh", command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, lifeline, 0)])
    os.close(lifeline)


def describe_end(code: int) -> str:
    """Return how a process ended, by its exit code, as the end of a sentence."""
    if code >= 0:
        return f"ended with exit code {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def main() -> None:
    """Become another program whose group ends with a pipe's writer: ``LIFELINE PROGRAM ARGUMENT…``."""
    end_group_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the harness itself names


if __name__ == "__main__":
    main()
