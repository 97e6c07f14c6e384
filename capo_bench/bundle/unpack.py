"""A bundle into a results folder that may hold other studies, or part of this one: nothing that is there is lost."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from capo_bench.bundle.extract import Tell, extract
from capo_bench.bundle.manifest import BundleError, Manifest
from capo_bench.store.home import Home, TrialFolder
from capo_bench.store.walk import read_sums
from evals.checksums import SUMS, file_sum

_MOST_SHOWN = 20


@dataclass
class Unpacked:
    """What became of a bundle's trials, shared models and files of the study: new, or there already and equal.

    `kept` are those that were there with another content and were left as they are, with the files that differ.
    """

    manifest: Manifest
    placed: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)

    @property
    def trials(self) -> set[str]:
        """Ids of the bundle's trials, all of which have finished."""
        units = (*self.placed, *self.equal, *self.kept)
        return {unit.removeprefix("trials/") for unit in units if unit.startswith("trials/")}


def unpack(path: Path, home: Home, tell: Tell = lambda done, total: None) -> Unpacked:
    """Unpack a bundle into a results folder.

    A trial or a shared model is put in place whole and at once, and so is any other file. What is there is left.

    Raises:
        BundleError: It cannot be read, or its files differ from their checksums; nothing was put in place then.
        OSError: The folder cannot be written.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    scratch = home.path / f".unpacking.{secrets.token_hex(8)}"
    scratch.mkdir()
    try:
        unpacked = Unpacked(extract(path, scratch, tell))
        _check(path, scratch)
        units = {unit: _stages(scratch, unit) for unit in _units(scratch)}
        for unit, stages in units.items():
            _place(scratch, home.path, unit, stages, unpacked)
        return unpacked
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(path: Path, scratch: Path) -> None:
    folders = [*sorted(scratch.glob("studies/*")), *_folders(scratch)]
    differing = [
        f"{path}: {file.path.relative_to(scratch)}: {file.listed} in its list of checksums, {file.value} here"
        for folder in folders
        for file in read_sums(folder)
        if file.value != file.listed and not file.freed
    ]
    if differing:
        raise BundleError("\n".join([*differing[:_MOST_SHOWN], "nothing was unpacked; get the bundle again"]))


def _units(scratch: Path) -> list[str]:
    """Return what is put in place at once: folders of stages and trials, and then a study's files, which go on."""
    files = sorted(path for path in (scratch / "studies").rglob("*") if path.is_file() and path.name != SUMS)
    return [path.relative_to(scratch).as_posix() for path in (*_folders(scratch), *files)]


def _folders(home: Path) -> list[Path]:
    return [*sorted(home.glob("stages/*/*")), *sorted(home.glob("trials/*"))]


def _stages(scratch: Path, unit: str) -> list[str]:
    """Return the stages under keys that a trial of a bundle rests on; none of another unit."""
    try:
        return [stage.relative_to(scratch).as_posix() for stage in TrialFolder(scratch / unit).shared()]
    except (ValueError, TypeError) as error:
        raise BundleError(f"{unit}: its stages.json is no list of keys ({error}); get the bundle again") from error


def _place(scratch: Path, home: Path, unit: str, stages: list[str], unpacked: Unpacked) -> None:
    source, target = scratch / unit, home / unit
    if not target.exists() and (others := [stage for stage in stages if stage in unpacked.kept]):
        unpacked.kept[unit] = others  # it would be a trial of another training or of other completions
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        unpacked.placed.append(unit)
    elif differing := _differing(source, target):
        unpacked.kept[unit] = differing
    else:
        unpacked.equal.append(unit)


def _differing(source: Path, target: Path) -> list[str]:
    """Return the files of a bundle that the folder has otherwise, or not at all."""
    files = [path for path in sorted(source.rglob("*")) if path.is_file()] if source.is_dir() else [source]
    pairs = {path: target / path.relative_to(source) for path in files}
    return [
        path.relative_to(source).as_posix() if path != source else path.name
        for path, there in pairs.items()
        if not there.is_file() or file_sum(path) != file_sum(there)
    ]
