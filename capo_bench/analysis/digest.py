"""What was worked out of large files, kept so that the next report need not read them again.

A digest is believed only if it is of the same files (name, size, time of change and inode of each) and was made by the
same code; anything else about it is a reason to work it out anew. It is a help, never a need: where it cannot be read
or written, the report is only slower. Deleting one costs time alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from evals.files import write_atomic

SETTLED_SECONDS = 2.0
"""A file that changed this recently may change once more within the same tick of its clock: no digest of it is kept."""

File = Path | os.DirEntry[str]

_PACKAGES = ("capo_bench", "trainers", "evals")


def digested(path: Path | None, files: Iterable[File], make: Callable[[], Any], *more: object) -> Any:
    """Return what `make` returns, from the digest at `path` where it was made of the same files.

    Args:
        path: Where the digest is kept; None: it is not.
        files: What `make` reads; one that is not there counts as such.
        make: Returns plain JSON values: no tuples, no NaN.
        more: What else decides the value, plain JSON values.
    """
    if path is None:
        return make()
    seen = [_seen(file) for file in files]
    key = hashlib.sha256(json.dumps([code(), seen, more]).encode()).hexdigest()
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(path.read_bytes())
        if kept["key"] == key and kept["sum"] == _sum(kept["value"]):
            return kept["value"]
    value = make()
    if all(time.time() - file[2] / 1e9 > SETTLED_SECONDS for file in seen if len(file) > 1):
        with suppress(OSError):
            write_atomic(path, json.dumps({"key": key, "value": value, "sum": _sum(value)}, allow_nan=False))
    return value


def _sum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def code() -> str:
    """Return a fingerprint of our sources: what other code made of a file says nothing."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for source in sorted(path for package in _PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(str(source.relative_to(root)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _seen(file: File) -> list[Any]:
    try:
        found = file.stat()
    except OSError:
        return [file.name]
    return [file.name, found.st_size, found.st_mtime_ns, found.st_ino]
