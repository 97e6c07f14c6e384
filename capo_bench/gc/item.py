"""One thing that may go, and how many bytes that really frees."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from trainers.critics.store import spare

Kind = Literal[
    "leftovers",
    "checkpoints",
    "orphans",
    "models",
    "trials",
    "stages",
    "digests",
    "views",
    "critiques",
    "logs",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Removable:
    """A file or folder that may go.

    Attributes:
        kind: What it is.
        path: Where it is.
        why: Why it may go, as a clause.
        lock: The lock file that whoever works with it holds; None: that of its study alone.
        trial: Id of the trial that it is of; empty if of none.
    """

    kind: Kind
    path: Path
    why: str
    lock: Path | None = None
    trial: str = ""


def freed_bytes(items: Iterable[Removable]) -> dict[Removable, int]:
    """Return the bytes that each frees."""
    return {item: spare(item.path) if item.kind == "critiques" else sum(_sizes(item.path)) for item in items}


def _sizes(path: Path) -> Iterator[int]:
    for file in _files(path):
        with suppress(FileNotFoundError):
            yield file.lstat().st_size


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for root, _, names in os.walk(path):
        yield from (Path(root, name) for name in names)
