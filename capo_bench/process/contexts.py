"""What holds while a context is open: variables of the environment, a call that is repeated."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def kept_environment(*names: str) -> Iterator[None]:
    """Leave variables of this process as they were when the context ends: those named, or else all of them."""
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
def repeating(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call something again and again in a thread, with so many seconds between, while the context is open."""
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
