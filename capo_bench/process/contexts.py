"""Context managers for environment variables and for repeated calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def keep_environment(*names: str) -> Iterator[None]:
    """Restore environment variables of this process when the context ends: the named ones, or all without names."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in names or {*os.environ, *before}:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


@contextmanager
def call_repeatedly(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call a function repeatedly in a thread, with `seconds` between calls, while the context is open."""
    over = Event()

    def repeat() -> None:
        while not over.wait(seconds):
            call()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
