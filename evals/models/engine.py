"""Run vLLM's engine as a child process that ends with this process, however this process ends."""

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Callable, Sequence
from typing import Any


def choose_chunked_prefill() -> bool | None:
    """Return whether prompts are processed in chunks; None is vLLM's default.

    On a CPU, vLLM 0.31 crashes when it samples with a seed and the prompt is processed in chunks.
    """
    from vllm.platforms import current_platform

    return False if current_platform.is_cpu() else None


def start_guarded(start: Callable[[], None]) -> subprocess.Popen[bytes]:
    """Start an engine, and return the guard of its processes."""
    others = set(multiprocessing.active_children())
    start()
    return _guard([child.pid for child in set(multiprocessing.active_children()) - others])


def end(engine: Any, guard: subprocess.Popen[bytes]) -> None:
    """End an engine (a `vllm.LLM`) now; otherwise its process runs until the garbage collector ends it."""
    engine.llm_engine.engine_core.shutdown()
    guard.kill()
    guard.communicate()


def _guard(processes: Sequence[int | None]) -> subprocess.Popen[bytes]:
    """Return a process that kills the given ones when this process ends: vLLM's engine would outlive a killed parent.

    It waits for the end of its input, which the kernel closes when this process ends for any reason.
    """
    command = ["/bin/sh", "-c", 'read -r _; kill -9 "$@"', "sh", *map(str, processes)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
