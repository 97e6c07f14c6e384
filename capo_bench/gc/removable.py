"""The kinds of what may go from a results folder, and one thing that may."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KINDS = {
    "leftovers": "temporary and half-written files of processes that were killed",
    "checkpoints": "of trials that have finished, or stopped longer ago than --abandoned-after",
    "orphans": "unfinished trials that no study will resume: of older code, or of no study",
    "models": "trained weights of finished trials, as --keep-models says",
    "trials": "whole trials, as --trial says",
    "stages": "models, trainings and completions under keys that no trial needs",
    "digests": "results that reports computed; the next report takes longer",
    "views": "pages of `capo-bench view`, which it can write again",
    "critiques": "critiques beyond the limit of their cache, and its unused space",
    "logs": "older parts of logs",
}


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
        from trainers.critics.store import spare

        return spare(self.path) if self.kind == "critiques" else sum(_sizes(self.path))


def _sizes(path: Path) -> Iterator[int]:
    folder = path.is_dir() and not path.is_symlink()
    files = (Path(root, name) for root, _, names in os.walk(path) for name in names) if folder else [path]
    for file in files:
        with suppress(FileNotFoundError):
            yield file.lstat().st_size
