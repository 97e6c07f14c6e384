"""The kinds of what may go from a results folder, and one thing that may."""

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
"""How the name begins that a folder has in the results folder while it is deleted."""


@dataclass(frozen=True)
class Removable:
    """A file or folder that may go, and why, as a clause.

    `lock` is what whoever works with it holds; None: that of its study alone. `trial` is empty if it is of none.
    """

    kind: str
    path: Path
    why: str
    lock: Path | None = None
    trial: str = ""

    def count_bytes(self) -> int:
        """Return the bytes that it frees."""
        return sum(_list_sizes(self.path))


def _list_sizes(path: Path) -> Iterator[int]:
    folder = path.is_dir() and not path.is_symlink()
    files = (Path(root, name) for root, _, names in os.walk(path) for name in names) if folder else [path]
    for file in files:
        with suppress(FileNotFoundError):
            yield file.lstat().st_size
