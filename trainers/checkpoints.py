"""Manage the checkpoints of a run, and the file that names the complete one.

``resume.json`` names the newest checkpoint with the checksums of its files. It is written after all of these are on the
disk and before any older checkpoint is deleted. Therefore, once there has been a complete checkpoint, ``resume.json``
always names a complete one. Other checkpoint folders are incomplete and are ignored.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from evals.checksums import hash_file
from evals.files import write_atomic

log = logging.getLogger(__name__)

MARK = "resume.json"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was complete when it was marked, and the number of training steps (whole batches) before it."""

    path: Path
    step: int


def mark(folder: Path, updates: int, step: int) -> None:
    """Mark a checkpoint, whose files all processes have written, as the one to resume from, and delete the others."""
    checkpoint = folder / f"checkpoint-{updates:d}"
    sync(checkpoint)
    point = {"checkpoint": checkpoint.name, "step": step, "files": _compute_sums(checkpoint)}
    write_atomic(folder / MARK, json.dumps(point, indent=2, sort_keys=True) + "\n")
    _sync(folder)
    _drop_others(folder, checkpoint)


def find_newest(folder: Path) -> Checkpoint | None:
    """Return the marked checkpoint and delete the others; None if none is marked or the marked one is damaged.

    A damaged checkpoint is reported in the log.
    """
    if not (folder / MARK).exists():
        return None
    try:
        point = json.loads((folder / MARK).read_text(encoding="utf-8"))
        checkpoint = Checkpoint(folder / Path(point["checkpoint"]).name, int(point["step"]))
        sums = dict(point["files"])
    except (ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read (%r): training starts from nothing", folder / MARK, error)
        return None
    there = _compute_sums(checkpoint.path)
    wrong = sorted(name for name, value in sums.items() if there.get(name) != value)
    if wrong or not sums:
        reason = f"{', '.join(wrong)} not as it was written" if wrong else "it has no files"
        log.warning("%s is damaged (%s): training starts from nothing", checkpoint.path, reason)
        return None
    _drop_others(folder, checkpoint.path)
    return checkpoint


def sync(folder: Path) -> None:
    """Wait until a folder and all its content are on the disk, so that they survive a crash."""
    for path in (*folder.rglob("*"), folder, folder.parent):
        _sync(path)


def _compute_sums(checkpoint: Path) -> dict[str, str]:
    files = [path for path in checkpoint.rglob("*") if path.is_file()]
    return {path.relative_to(checkpoint).as_posix(): hash_file(path) for path in files}


def _drop_others(folder: Path, kept: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        if path != kept:
            shutil.rmtree(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
