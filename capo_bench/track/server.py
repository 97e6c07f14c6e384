"""Run MLflow's server as a child process that ends with the command that started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from capo_bench.process.interrupt import Interrupts
from capo_bench.process.orphans import die_with
from capo_bench.store.errors import RunError
from capo_bench.track.store import Store, build_server_command, build_server_environment

_START_SECONDS = 60.0


def serve(store: Store, port: int, ready: Callable[[str], None]) -> int:
    """Serve a store at 127.0.0.1 until Ctrl-C or SIGTERM; `ready` is called with the address when the server answers.

    Returns:
        0 after Ctrl-C or SIGTERM, else the server's exit code.

    Raises:
        RunError: The port is in use, or the store does not exist yet.
    """
    if store.database is not None and not store.database.exists():
        raise RunError(f"{store.database}: nothing is tracked here yet; run a study first, or set --home")
    if _is_answering(port):
        raise RunError(f"port {port} is taken on 127.0.0.1; choose another with --port")
    with Interrupts() as interrupts:
        # In a separate session: this process gets Ctrl-C, and all processes of the server are ended together.
        server = subprocess.Popen(  # noqa: S603 - our own interpreter
            build_server_command(store, port),
            env=os.environ | build_server_environment(store),
            start_new_session=True,
            preexec_fn=partial(die_with, os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - no other thread runs here
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            return _watch(server, interrupts, port, ready)
        finally:
            _end(server)


def _watch(server: subprocess.Popen[bytes], interrupts: Interrupts, port: int, ready: Callable[[str], None]) -> int:
    answered = False
    give_up = time.monotonic() + _START_SECONDS
    while interrupts.signal is None:
        if server.poll() is not None:
            return server.returncode
        if not answered and (answered := _is_answering(port)):
            ready(f"http://127.0.0.1:{port}")
        if not answered and time.monotonic() > give_up:
            raise RunError(f"MLflow's server did not answer on port {port} within {_START_SECONDS:.0f} s")
        time.sleep(0.2)
    return 0


def _is_answering(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(server: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds)
