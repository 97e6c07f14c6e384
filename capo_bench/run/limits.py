"""Limits of a run: seconds per stage, and free space on the disk."""

from __future__ import annotations

import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.store.errors import RunError
from capo_bench.store.home import Home, TrialFolder, read_json
from evals.checksums import list_files_below

if TYPE_CHECKING:
    from capo_bench.study.plan import Trial

DISK_SECONDS = 10.0
_MEASURED, _LOOKED_AT = 5, 200
"""Finished trials of each backbone whose sizes are measured for the estimate, and finished trials that are searched."""


class StageClock:
    """The time that each job has spent in its current stage.

    Args:
        timeouts: Seconds that a stage may take, by its name.
        clock: Returns the time in seconds.
    """

    def __init__(self, timeouts: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._timeouts, self._clock = timeouts, clock
        self._since: dict[str, tuple[str, float]] = {}

    def enter(self, job: str, stage: str) -> None:
        """Record that a job is in a stage now; entering the same stage again does not restart its time."""
        if self._since.get(job, ("", 0.0))[0] != stage:
            self._since[job] = stage, self._clock()

    def leave(self, job: str) -> None:
        """Record that a job has ended."""
        self._since.pop(job, None)

    def overdue(self) -> dict[str, str]:
        """Return the jobs that are over the time limit of their stage, each with an error message."""
        now = self._clock()
        return {
            job: f"stage {stage!r} took longer than {limit:g} s (--timeout {stage}=… sets the limit)"
            for job, (stage, since) in self._since.items()
            if (limit := self._timeouts.get(stage)) is not None and now - since > limit
        }


class DiskWatch:
    """A check that at least `min_free` bytes are free on the disk of a folder, made every `DISK_SECONDS`."""

    def __init__(self, folder: Path, min_free: int) -> None:
        self._folder, self._min_free = folder, min_free
        self._due = 0.0

    def trouble(self) -> str:
        """Return an error message if the disk is nearly full; empty if it is not, or if no check is due."""
        if time.monotonic() < self._due:
            return ""
        self._due = time.monotonic() + DISK_SECONDS
        free = shutil.disk_usage(self._folder).free
        if free >= self._min_free:
            return ""
        return (
            f"{self._folder}: {format_size(free)} are free on its disk, less than the {format_size(self._min_free)} of "
            "--min-free; free space, then run again: finished trials are kept"
        )


def check_disk(home: Home, trials: Iterable[Trial], min_free: int) -> None:
    """Refuse a run that does not fit on the disk.

    Raises:
        RunError: Less than `min_free` bytes are free, or would be after the pending trials. Their sizes are estimated
            from finished trials.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    if trouble := DiskWatch(home.path, min_free).trouble():
        raise RunError(trouble)
    pending = Counter(trial.config.backbone for trial in trials)
    typical = _measure_sizes(home, set(pending))
    whole = sum(count * typical.get(backbone, 0) for backbone, count in pending.items())
    free = shutil.disk_usage(home.path).free
    if whole > free - min_free:
        raise RunError(
            f"{home.path}: {pending.total()} trials are pending and take about {format_size(whole)}, going by finished "
            f"ones, and {format_size(free)} are free on its disk, of which {format_size(min_free)} are to stay free "
            "(--min-free); free space or choose another --home"
        )


def format_size(count: float) -> str:
    """Return a number of bytes as text: ``1.5 GiB``."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _measure_sizes(home: Home, backbones: set[str]) -> dict[str, float]:
    """Return the median bytes of a trial of each backbone that has finished trials."""
    by_backbone: dict[str, list[int]] = {backbone: [] for backbone in backbones}
    for path in islice(home.path.glob("trials/*/metrics.json"), _LOOKED_AT):
        with suppress(OSError, ValueError, KeyError):
            sizes = by_backbone.get(read_json(path.with_name("config.json"))["config"]["backbone"], [])
            if len(sizes) < _MEASURED:
                folders = (path.parent, *TrialFolder(path.parent).shared())
                sizes.append(sum(file.stat().st_size for each in folders for file in list_files_below(each)))
    return {backbone: statistics.median(sizes) for backbone, sizes in by_backbone.items() if sizes}
