"""Process time: the seconds that processors worked for a process, whatever else they do at the same time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def process_seconds() -> float:
    """Return the processor seconds of this process and its children; on Linux, living children too.

    A living child counts with its own ended children, but without its living ones. On other systems a child counts
    when it has ended.
    """
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system + sum(map(read_seconds, _list_children()))


def _list_children() -> set[str]:
    children: set[str] = set()
    for file in _PROC.glob("self/task/*/children"):
        with suppress(OSError):  # a thread that has just ended
            children.update(file.read_text(encoding="ascii").split())
    return children


def read_seconds(process: str) -> float:
    """Return the processor seconds of a process and its ended children; 0 where it is gone, or on other systems."""
    try:
        stat = (_PROC / process / "stat").read_text(encoding="utf-8")
    except OSError:  # it has just ended
        return 0.0
    # After the name, which may hold anything: utime, stime, cutime and cstime are fields 14 to 17 of the line.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")
