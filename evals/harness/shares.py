"""Divide one evaluation among processes: each process completes a share of a task's problems; then they are joined.

Each share of a task has a folder, so that a killed process can resume there. The joined folder is the same as if one
process had completed everything. A completion depends on the seed, its prompt and its number, so the shares do not
affect the sampling.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

from evals.files import write_atomic
from evals.harness.folder import (
    GENERATIONS,
    TIMING,
    Asked,
    TaskRecord,
    format_json,
    read_task,
    read_whole_batches,
    write_task,
)
from evals.harness.tasks import EvalTask

SHARES = ".shares"


@dataclass(frozen=True)
class Share:
    """The share of problems of one of several processes, which are numbered from 0."""

    number: int
    count: int

    def folder(self, out: Path) -> Path:
        """Return the folder of the share's tasks, for an evaluation in `out`."""
        return out if self.count == 1 else out / SHARES / f"{self.number}-of-{self.count}"

    def of(self, task: EvalTask) -> EvalTask:
        """Return the task with only this share's problems: every `count`-th."""
        part = slice(self.number, None, self.count)
        return replace(task, problems=task.problems[part], queries=task.queries[part])


ALONE = Share(0, 1)


def split(count: int) -> list[Share]:
    """Return the shares of `count` processes."""
    return [Share(number, count) for number in range(count)]


def join(out: Path, names: list[str], shares: list[Share]) -> None:
    """Join the complete shares of each task into ``out/<task>``, which must not exist, and remove the shares.

    Raises:
        EvaluationError: A share has no evaluation.
    """
    for name in names:
        folders = [folder for share in shares if (folder := share.folder(out) / name).exists()]
        if folders and not (out / name).exists():
            _join_task(folders, out / SHARES / name)
            (out / SHARES / name).rename(out / name)
    shutil.rmtree(out / SHARES)


def _join_task(folders: list[Path], joined: Path) -> None:
    shutil.rmtree(joined, ignore_errors=True)
    joined.mkdir()
    write_task(joined, _join_records([read_task(folder) for folder in folders]))
    generations, timing, batches = [], [], 0
    for folder in folders:
        lines, _ = read_whole_batches(folder / GENERATIONS)
        seconds = [json.loads(line) for line in (folder / TIMING).read_text(encoding="utf-8").splitlines()]
        generations += [{**line, "batch": line["batch"] + batches} for line in lines]
        timing += [{**line, "batch": line["batch"] + batches} for line in seconds]
        batches += lines[-1]["batch"] + 1
    write_atomic(joined / GENERATIONS, "".join(map(format_json, generations)))
    write_atomic(joined / TIMING, "".join(map(format_json, timing)))


def _join_records(records: list[TaskRecord]) -> TaskRecord:
    rounds: chain[Asked | None] = chain.from_iterable(zip_longest(*(record.asked for record in records)))
    asked = tuple(each for each in rounds if each is not None)
    identity = {**records[0].identity, "problems": len(asked)}
    return replace(records[0], identity=identity, started=min(record.started for record in records), asked=asked)
