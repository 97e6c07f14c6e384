"""The accelerators that this process may use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them: those it lists, else all that the driver knows."""
    listed = environment.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        told = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(filter(lambda line: line.startswith("GPU "), told.splitlines()))]
