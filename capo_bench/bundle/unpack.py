"""Unpack a bundle into a results folder that may contain other studies or a part of this one; existing files stay."""

from __future__ import annotations

import filecmp
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from capo_bench.bundle.extract import Tell, extract
from capo_bench.bundle.manifest import BundleError, Manifest
from capo_bench.store.home import Home, TrialFolder
from capo_bench.store.walk import read_sums
from evals.checksums import SUMS

_MOST_SHOWN = 20


@dataclass
class Unpacked:
    """The result of unpacking: which trials, stages and files of the study are new, and which existed and were equal.

    `kept` were not unpacked: different ones existed, or a trial needs a stage of which a different one existed.
    """

    manifest: Manifest
    placed: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def trials(self) -> set[str]:
        """Ids of the bundle's trials; all have finished."""
        units = (*self.placed, *self.equal, *self.kept)
        return {unit.removeprefix("trials/") for unit in units if unit.startswith("trials/")}


def unpack(path: Path, home: Home, tell: Tell = lambda done, total: None) -> Unpacked:
    """Unpack a bundle into a results folder.

    A trial, a stage or another file is moved to its place at once. Existing ones are not changed.

    Raises:
        BundleError: It cannot be read, or its files differ from their checksums; nothing is unpacked then.
        OSError: The folder cannot be written.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    scratch = home.path / f".unpacking.{secrets.token_hex(8)}"
    scratch.mkdir()
    try:
        unpacked = Unpacked(extract(path, scratch, tell))
        _check(path, scratch)
        units = {unit: _list_stages(scratch, unit) for unit in _list_units(scratch)}
        for unit, stages in units.items():
            _place(scratch, home.path, unit, stages, unpacked)
        return unpacked
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(path: Path, scratch: Path) -> None:
    folders = [*sorted(scratch.glob("studies/*")), *_list_folders(scratch)]
    differing = [
        f"{path}: {file.path.relative_to(scratch)}: {file.listed} in its list of checksums, {file.value} here"
        for folder in folders
        for file in read_sums(folder)
        if file.value != file.listed and not file.freed
    ]
    if differing:
        raise BundleError("\n".join([*differing[:_MOST_SHOWN], "nothing was unpacked; get the bundle again"]))


def _list_units(scratch: Path) -> list[str]:
    """Return what is moved at once: the folders of stages and trials, then the study's files."""
    files = sorted(path for path in (scratch / "studies").rglob("*") if path.is_file() and path.name != SUMS)
    return [path.relative_to(scratch).as_posix() for path in (*_list_folders(scratch), *files)]


def _list_folders(home: Path) -> list[Path]:
    return [*sorted(home.glob("stages/*/*")), *sorted(home.glob("trials/*"))]


def _list_stages(scratch: Path, unit: str) -> list[str]:
    """Return the stages under keys that a trial of a bundle needs; nothing if the unit is not a trial."""
    try:
        return [stage.relative_to(scratch).as_posix() for stage in TrialFolder(scratch / unit).shared()]
    except (ValueError, TypeError) as error:
        raise BundleError(f"{unit}: its stages.json is no list of keys ({error}); get the bundle again") from error


def _place(scratch: Path, home: Path, unit: str, stages: list[str], unpacked: Unpacked) -> None:
    source, target = scratch / unit, home / unit
    if target.exists():
        (unpacked.equal if _has_same_content(source, target) else unpacked.kept).append(unit)
    elif not set(stages).isdisjoint(unpacked.kept):
        unpacked.kept.append(unit)  # here it would have another training or other completions
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        unpacked.placed.append(unit)


def _has_same_content(source: Path, target: Path) -> bool:
    """Return whether two files are equal, or the checksums of two folders; readers compare files with checksums.

    A bundle may lack weights that the results folder has.
    """
    mine, theirs = (source / SUMS, target / SUMS) if source.is_dir() else (source, target)
    return theirs.is_file() and filecmp.cmp(mine, theirs, shallow=False)
