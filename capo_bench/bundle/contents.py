"""What goes into a bundle: the study as it was run, its finished trials, its report.

Trials that are not done are left out: half of one proves nothing, and who goes on runs it anew. The report is made of
what is in the bundle, so that it is never the one of an hour ago. Left out, too, are logs and checkpoints, which hold
paths and are read by nobody else. Critiques are in the
rollouts; the cache of critiques stays at home.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capo_bench.bundle.manifest import BundleError
from capo_bench.store.home import Home, json_bytes
from capo_bench.store.walk import reached
from evals.checksums import SUMS

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan

_LEFT_OUT = ("trial.log", "lock")
_CHECKPOINTS = re.compile(r"(stages/training/\w+|trials/\w+/training)/checkpoints/")
_WEIGHTS = re.compile(r"stages/(cold_start|critic|prm)/|(stages/training/\w+|trials/\w+/training)/(checkpoints|model)/")


@dataclass(frozen=True)
class BundledFile:
    """A file by its place in a results folder.

    `source` is the file, or what it holds, where it is made for the bundle.
    """

    path: str
    source: Path | bytes

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def read(self) -> bytes:
        """Return what it holds."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


def study_files(plan: Plan, home: Home, study_text: str, report: Path) -> list[BundledFile]:
    """Return a study's own files, by path; the report is the one in the folder `report`.

    Raises:
        BundleError: There is a link among the files.
    """
    study = home.study(plan.study)
    profile = study.profile(plan.profile)
    made = {profile.study: study_text.encode(), profile.plan: json_bytes(plan.as_json())}
    files = [BundledFile(path.relative_to(home.path).as_posix(), data) for path, data in made.items()]
    if study.ledger.exists():
        files.append(BundledFile(study.ledger.relative_to(home.path).as_posix(), study.ledger))
    return sorted([*files, *_below(report, profile.report.relative_to(home.path))], key=lambda file: file.path)


def trial_files(plan: Plan, home: Home, *, weights: bool) -> list[BundledFile]:
    """Return the files of finished trials and of the stages that they rest on; lists of checksums come last.

    Without `weights`, trained ones and the models that trials share are left out.

    Raises:
        BundleError: There is a link among the files.
    """
    folders = reached(home, {trial.id: trial.identity for trial in plan.trials})
    files = [file for folder in folders for file in _below(folder, folder.relative_to(home.path))]
    left_out = _CHECKPOINTS if weights else _WEIGHTS
    kept = [file for file in files if not left_out.match(file.path)]
    return sorted(kept, key=lambda file: (file.path.endswith(SUMS), file.path))


def _below(folder: Path, place: Path) -> Iterator[BundledFile]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if hidden or inner.as_posix().startswith(_LEFT_OUT) or (path.is_dir() and not path.is_symlink()):
            continue
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path}: a link, or no plain file; put the file itself in its place")
        yield BundledFile((place / inner).as_posix(), path)
