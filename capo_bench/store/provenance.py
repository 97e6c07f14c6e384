"""The provenance of a result: commit, packages, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

PACKAGES = (
    *("capo-bench", "torch", "transformers", "trl", "accelerate", "datasets", "tokenizers", "numpy"),
    *("math-verify", "latex2sympy2-extended", "sympy", "mlflow", "scipy"),
)


@cache
def describe_environment() -> dict[str, Any]:
    """Return commit, packages and machine as plain values; None for what is unknown."""
    return {
        "git": _describe_git(Path(__file__).parent),
        "python": platform.python_version(),
        "packages": {name: find_version(name) for name in PACKAGES},
        "hardware": _describe_hardware(),
    }


def _describe_git(folder: Path) -> dict[str, Any]:
    """Return the commit of the code in `folder`, and whether it was changed since; None if git does not track it.

    An installed package may be in a checkout of something else (in its virtual environment): its commit is another.
    """
    if _run(folder, "ls-files", "--error-unmatch", ".") is None:
        return {"commit": None, "dirty": None}
    commit = _run(folder, "rev-parse", "HEAD")
    changes = _run(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if commit is None or changes is None else bool(changes)}


def _run(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_version(name: str) -> str | None:
    """Return the version of an installed package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _describe_hardware() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _find_cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "gpus": _list_gpus(),
    }


def _find_cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _list_gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
