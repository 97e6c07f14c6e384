"""The driver's connection to Ray: an existing cluster, or a separate instance on this machine."""

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

# Ray requires at least 75 MiB; only small messages are stored here.
_STORE_BYTES = 100 * 2**20
_KNOCK_SECONDS = 10

_apart = False
"""Whether processes that are started now leave this process's group and terminal."""


@contextmanager
def connect_to(address: str | None, cores: int) -> Iterator[None]:
    """Connect to the cluster at an address, ``"auto"`` or ``host:port``, while the context is open.

    If `address` is None, start an instance with `cores` cores on this machine, which no other machine can reach, and
    end it with the context.

    Raises:
        RunError: Ray is not installed, there is no such cluster, or its versions differ from those of this process.
    """
    # Ray creates sockets in this folder. Their paths are limited to 107 characters, so TMPDIR is not used.
    scratch = tempfile.mkdtemp(prefix="capo-ray-", dir="/tmp") if address is None else None
    try:
        ray = _import_ray(local=address is None)
        _start_ray(ray, address, cores, scratch)
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _import_ray(*, local: bool) -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if local:
        # Read at the first import of Ray: without it, even an instance on one machine listens on all its networks.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise RunError("--executor ray needs Ray: pip install 'capo-bench[ray]', or leave the option out") from error
    return ray


def _start_ray(ray: ModuleType, address: str | None, cores: int, scratch: str | None) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        with _isolate_from_signals():
            ray.init(job_config=_build_job_config(), **_build_settings(address, cores, scratch))
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise RunError(_describe_refusal(address, error)) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray replaces this handler


@contextmanager
def _isolate_from_signals() -> Iterator[None]:
    """Start Ray's processes outside of this process's group, where signals to the group do not reach them.

    Schedulers and shells signal whole groups. Ray's daemons would end at once, and jobs could no longer be asked to
    save. Ray has no setting for this, but it starts the daemons by a fork that runs hooks.
    """
    global _apart  # noqa: PLW0603 - a fork hook cannot be removed, only disabled
    _install_hook()
    _apart = True
    try:
        yield
    finally:
        _apart = False


@cache
def _install_hook() -> None:
    os.register_at_fork(after_in_child=lambda: os.setsid() if _apart else None)


def _knock(address: str | None) -> None:
    """Raise an OSError if nothing listens at ``host:port``: Ray itself would retry for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_SECONDS).close()


def _build_job_config() -> Any:
    """Return a job configuration with the import paths of this process that are not part of its installation."""
    from ray.job_config import JobConfig

    entries = [Path(entry).absolute() for entry in sys.path if entry]
    installed = (Path(sys.prefix), Path(sys.base_prefix))
    own = [str(path) for path in entries if not any(path.is_relative_to(prefix) for prefix in installed)]
    return JobConfig(_py_driver_sys_path=own)


def _build_settings(address: str | None, cores: int, scratch: str | None) -> dict[str, Any]:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is not None:
        return {"address": address, **quiet}
    own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": _STORE_BYTES, "_temp_dir": scratch}
    # "local" is explicit, because otherwise RAY_ADDRESS in the environment would select another cluster.
    return {"address": "local", **own, **quiet}


def _describe_refusal(address: str | None, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    if address is None:
        return f"Ray cannot be started on this machine: {reason}"
    return (
        f"--address {address}: no Ray cluster that can be joined: {reason}; this machine must be one of its nodes and "
        "have its versions of Python and Ray (docs/cluster.md)"
    )
