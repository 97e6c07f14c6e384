"""The kinds of what `gc` can delete, and one item that it can delete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KINDS = {
    "leftovers": "what killed processes left half-written, and older parts of logs",
    "unused": "unfinished trials that no plan has, and stages that no trial needs",
    "models": "trained weights of finished trials, as --keep-models says",
    "trials": "whole trials, as --trial says",
    "caches": "what reports computed, and pages of `capo-bench view`; both can be made again",
}

AWAY = ".freed"
"""Beginning of a folder's name while it is being deleted; it is in the results folder."""


@dataclass(frozen=True)
class Removable:
    """A file or folder that can be deleted, and why, as a clause.

    `lock` is held by a process that works on the item; None: only the lock of its study is. `trial` is the id of its
    trial; empty if it belongs to none.
    """

    kind: str
    path: Path
    why: str
    lock: Path | None = None
    trial: str = ""

    def count_bytes(self) -> int:
        """Return the bytes that its deletion frees."""
        return sum(_list_sizes(self.path))


def _list_sizes(path: Path) -> Iterator[int]:
    folder = path.is_dir() and not path.is_symlink()
    files = (Path(root, name) for root, _, names in os.walk(path) for name in names) if folder else [path]
    for file in files:
        with suppress(FileNotFoundError):
            yield file.lstat().st_size
