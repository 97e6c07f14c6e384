"""One thing that may go, and how many bytes that really frees."""

from __future__ import annotations

import os
from collections import Counter
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
    "shared",
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
    """Return the bytes that each frees, if those before it go too.

    Files that were taken over are links to the same bytes, which are free only when the last link goes.
    """
    met: Counter[tuple[int, int]] = Counter()
    return {item: spare(item.path) if item.kind == "critiques" else _last_links(item.path, met) for item in items}


def _last_links(path: Path, met: Counter[tuple[int, int]]) -> int:
    freed = 0
    for file in _files(path):
        with suppress(FileNotFoundError):
            found = file.lstat()
            inode = (found.st_dev, found.st_ino)
            met[inode] += 1
            freed += found.st_size * (met[inode] == found.st_nlink)
    return freed


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for root, _, names in os.walk(path):
        yield from (Path(root, name) for name in names)
