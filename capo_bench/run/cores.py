"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_cores(limit_file: Path = _CGROUP_LIMIT) -> int:
    """Return the cores given to this process: its affinity, or a container's limit where that is less; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit_file.read_text().split()
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):  # no container, or "max": no limit
        pass
    return max(1, cores)
