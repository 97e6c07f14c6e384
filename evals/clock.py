"""Measure process time: the CPU seconds that were used for a process, independent of other processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def process_seconds() -> float:
    """Return the CPU seconds of this process and its children; on Linux, this includes running children.

    A running child counts with its own ended children, but without its running ones. On other systems, a child counts
    after it has ended.
    """
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system + sum(map(read_seconds, _list_children()))


def _list_children() -> set[str]:
    children: set[str] = set()
    for file in _PROC.glob("self/task/*/children"):
        with suppress(OSError):  # the thread has just ended
            children.update(file.read_text(encoding="ascii").split())
    return children


def read_seconds(process: str) -> float:
    """Return the CPU seconds of a process and its ended children; 0 if the process has ended, or on other systems."""
    try:
        stat = (_PROC / process / "stat").read_text(encoding="utf-8")
    except OSError:  # the process has just ended
        return 0.0
    # The name may contain any character. After it come the fields; utime, stime, cutime and cstime are fields 14 to 17.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")
