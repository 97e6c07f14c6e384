"""The cores and accelerators of this process, and their allocation to critics and trials."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.store.errors import RunError

if TYPE_CHECKING:
    from capo_bench.study.served import ServedCritic


_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def count_cores(limit_file: Path = _CGROUP_LIMIT) -> int:
    """Return the number of usable cores: the CPU affinity or a container's limit, whichever is less; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit_file.read_text().split()
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):  # no container, or "max": no limit
        pass
    return max(1, cores)


def list_visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return GPU names as in CUDA_VISIBLE_DEVICES: those that the variable lists, else all that the driver reports."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [
        str(number) for number, line in enumerate(filter(lambda line: line.startswith("GPU "), listing.splitlines()))
    ]


def share_out(critics: Sequence[ServedCritic], gpus: Sequence[str]) -> tuple[dict[ServedCritic, list[str]], list[str]]:
    """Return the GPUs of each critic's server, and the GPUs that remain for trials.

    Raises:
        RunError: The servers need more GPUs than there are.
    """
    wanted, left = sum(critic.serve.gpus for critic in critics), list(gpus)
    if wanted > len(gpus):
        named = ", ".join(f"{critic.serve.gpus} for {critic.model!r}" for critic in critics)
        raise RunError(
            f"critic.serve.gpus: {named}, and {len(gpus)} {'is' if len(gpus) == 1 else 'are'} visible; set it lower (0 "
            "shares the GPUs of the trials), or run on a machine with more"
        )
    shares = {}
    for critic in critics:
        shares[critic] = [left.pop() for _ in range(critic.serve.gpus)][::-1]
    # Servers without GPUs of their own share those of the trials.
    return {critic: own or left[: critic.serve.tensor_parallel_size] for critic, own in shares.items()}, left
