"""A bundle into a results folder that may hold other studies, or part of this one: nothing that is there is lost."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from capo_bench.bundle.archive import Tell
from capo_bench.bundle.errors import BundleError
from capo_bench.bundle.extract import extract
from capo_bench.bundle.manifest import Manifest
from capo_bench.store.home import Home, TrialFolder
from evals.checksums import file_sum

_MOST_TOLD = 20


@dataclass
class Unpacked:
    """What became of a bundle's files.

    Attributes:
        manifest: The bundle's manifest.
        placed: Trials, shared models and files of the study that are new.
        equal: Those that were there already, with the same content.
        kept: Those that were there with another content and were left as they are, and which of their files differ.
    """

    manifest: Manifest
    placed: list[str] = field(default_factory=list)
    equal: list[str] = field(default_factory=list)
    kept: dict[str, list[str]] = field(default_factory=dict)


def unpack(path: Path, home: Home, tell: Tell = lambda done, total: None) -> Unpacked:
    """Unpack a bundle into a results folder.

    A trial or a shared model is put in place whole and at once, and so is any other file. What is there is left.

    Raises:
        BundleError: It cannot be read, or is not as its manifest says; nothing was put in place then.
        OSError: The folder cannot be written.
    """
    home.path.mkdir(parents=True, exist_ok=True)
    scratch = home.path / f".unpacking.{secrets.token_hex(8)}"
    scratch.mkdir()
    try:
        extracted = extract(path, scratch, tell)
        if extracted.unlike:
            told = [f"{path}: {one.path}: {one.said} in the manifest, {one.found}" for one in extracted.unlike]
            raise BundleError("\n".join([*told[:_MOST_TOLD], "nothing was unpacked; get the bundle again"]))
        unpacked = Unpacked(extracted.manifest)
        for unit in _units(extracted.manifest):
            _place(scratch, home.path, unit, unpacked)
        return unpacked
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _units(manifest: Manifest) -> Iterator[str]:
    """Yield what is put in place at once: folders of trials and shared models, and single files, which come after."""
    paths = [manifest.path, *(one.path for one in manifest.files)]
    yield from dict.fromkeys(sorted((_unit(path) for path in paths), key=lambda unit: (unit.count("/") > 2, unit)))


def _unit(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[: {"trials": 2, "stages": 3}.get(parts[0], len(parts))])


def _place(scratch: Path, home: Path, unit: str, unpacked: Unpacked) -> None:
    source, target = scratch / unit, home / unit
    others = [stage.relative_to(scratch).as_posix() for stage in TrialFolder(source).shared()]
    if not target.exists() and (others := [stage for stage in others if stage in unpacked.kept]):
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
    return [
        path.relative_to(source).as_posix() if path != source else path.name
        for path in files
        if _hash(path) != _hash(target / path.relative_to(source))
    ]


def _hash(path: Path) -> str | None:
    return file_sum(path) if path.is_file() else None
