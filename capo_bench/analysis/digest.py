"""What was worked out of large files, kept so that the next report need not read them again.

A digest is believed only if it is of the same files (name, size, time of change and inode of each) and was made by the
same code; anything else about it is a reason to work it out anew. It is a help, never a need: where it cannot be read
or written, the report is only slower. Deleting one costs time alone.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_core import from_json

SETTLED_SECONDS = 2.0
"""A file that changed this recently may change once more within the same tick of its clock: no digest of it is kept."""

File = Path | os.DirEntry[str]

_PACKAGES = ("capo_bench", "trainers", "evals")


def read_or_make(path: Path | None, files: Iterable[File], make: Callable[[], Any], *more: object) -> Any:
    """Return what `make` returns, from the digest at `path` where it was made of the same files.

    Args:
        path: Where the digest is kept; None: it is not.
        files: What `make` reads; one that is not there counts as such.
        make: Returns plain JSON values: no tuples, no NaN.
        more: What else decides the value, plain JSON values.
    """
    if path is None:
        return make()
    seen = [_read_stat(file) for file in files]
    key = hashlib.sha256(json.dumps([hash_code(), seen, more]).encode()).hexdigest()
    with suppress(OSError, ValueError):
        first, _, kept = path.read_bytes().partition(b"\n")
        if first == _write_first_line(key, kept):
            return from_json(kept, cache_strings="keys")
    value = make()
    if all(time.time() - file[2] / 1e9 > SETTLED_SECONDS for file in seen if len(file) > 1):
        with suppress(OSError):
            _write(path, key, json.dumps(value, allow_nan=False).encode())
    return value


def _write_first_line(key: str, kept: bytes) -> bytes:
    return f"{key} {hashlib.sha256(kept).hexdigest()}".encode()


def _write(path: Path, key: str, kept: bytes) -> None:
    """Write a digest whole or not at all; not to the disk at once, as its first line tells whether it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_bytes(_write_first_line(key, kept) + b"\n" + kept)
    part.replace(path)


@cache
def hash_code() -> str:
    """Return a fingerprint of our sources: what other code made of a file says nothing."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for source in sorted(path for package in _PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(str(source.relative_to(root)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _read_stat(file: File) -> list[Any]:
    try:
        stat = file.stat()
    except OSError:
        return [file.name]
    return [file.name, stat.st_size, stat.st_mtime_ns, stat.st_ino]


@contextmanager
def pause_collector() -> Iterator[None]:
    """Let Python look for no cycles meanwhile: millions of records without one took it a third of a report's time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
