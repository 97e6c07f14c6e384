"""The driver's connection to Ray: a cluster that is there, or an instance of its own on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from capo_bench.store.errors import RunError

# Ray wants at least 75 MiB; what goes through it here is a few messages.
_STORE_BYTES = 100 * 2**20
_KNOCK_SECONDS = 10

_apart = False
"""Whether processes that are started now leave this one's group and terminal."""


@contextmanager
def connected(address: str | None, cores: int) -> Iterator[None]:
    """Be connected to the cluster at an address, ``"auto"`` or ``host:port``.

    None: start an instance of so many cores on this machine that no other machine can reach, and end it with the
    context.

    Raises:
        RunError: Ray is not installed, there is no such cluster, or its versions are not those of this process.
    """
    # Sockets are made in it, whose paths are limited to 107 characters: not where TMPDIR says.
    scratch = tempfile.mkdtemp(prefix="capo-ray-", dir="/tmp") if address is None else None
    try:
        ray = _ray(local=address is None)
        _init(ray, address, cores, scratch)
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _ray(*, local: bool) -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local:
        # Read at Ray's first import: without it even an instance of one machine listens to all its networks.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise RunError("--executor ray needs Ray: pip install 'capo-bench[ray]', or leave the option out") from error
    return ray


def _init(ray: ModuleType, address: str | None, cores: int, scratch: str | None) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        with _out_of_reach():
            ray.init(job_config=_imports(), **_settings(address, cores, scratch))
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise RunError(_refusal(address, error)) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # over which Ray puts its own


@contextmanager
def _out_of_reach() -> Iterator[None]:
    """Start Ray's processes where no signal reaches them that is meant for this process and its group.

    A scheduler and a shell signal whole groups. Ray's daemons would end at once, and with them the way by which jobs
    are asked to save. Ray has no setting for it, but starts them by a fork that runs hooks.
    """
    global _apart  # noqa: PLW0603 - a hook cannot be taken back, only told to do nothing
    _hook()
    _apart = True
    try:
        yield
    finally:
        _apart = False


@cache
def _hook() -> None:
    os.register_at_fork(after_in_child=lambda: os.setsid() if _apart else None)


def _knock(address: str | None) -> None:
    """Raise an OSError if nobody listens at ``host:port``: Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _imports() -> Any:
    """Return where tasks look for modules beside what is installed: in the checkouts that this process sees."""
    from ray.job_config import JobConfig

    entries = [Path(entry).absolute() for entry in sys.path if entry]
    installed = (Path(sys.prefix), Path(sys.base_prefix))
    own = [str(path) for path in entries if not any(path.is_relative_to(prefix) for prefix in installed)]
    return JobConfig(_py_driver_sys_path=own)


def _settings(address: str | None, cores: int, scratch: str | None) -> dict[str, Any]:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        return {"address": address, **quiet}
    own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _STORE_BYTES, "_temp_dir": scratch}
    # Named, because otherwise RAY_ADDRESS in the environment would lead to another cluster.
    return {"address": "local", **own, **quiet}


def _refusal(address: str | None, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    if address is None:
        return f"Ray cannot be started on this machine: {reason}"
    return (
        f"--address {address}: no Ray cluster that can be joined: {reason}; this machine must be one of its nodes and "
        "have its versions of Python and Ray (docs/cluster.md)"
    )
