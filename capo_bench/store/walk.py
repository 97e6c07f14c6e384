"""The only walk over the files of trials: the stages that their keys name, and the checksums of all files.

`gc` keeps the reached files, `bundle` packs them, and `verify` and `bundle --into` compare them with their checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.store.home import Home, StageKind
from capo_bench.store.keyed import find_kind
from evals.checksums import SUMS, hash_file, list_files_below, read_listed

ABSENT = "(absent)"

UNLISTED = ("trial.log", "lock")
"""Beginnings of names in a trial's folder of files without a checksum: the log and the lock. No results are in them."""


def find_shared_keys(identity: Mapping[str, Any]) -> dict[StageKind, str]:
    """Return the keys of the shared models that a trial's identity names, by their kinds."""
    training = identity["training"]
    parts: dict[StageKind, str] = {"cold_start": "key", "critic": "embedded", "prm": "embedded"}
    keys = {kind: (training.get(kind) or {}).get(name) for kind, name in parts.items()}
    return {kind: key for kind, key in keys.items() if key}


def list_stages(home: Home, identity: Mapping[str, Any], keys: Mapping[str, str]) -> list[Path]:
    """Return the folders of all stages that a trial needs, whether they exist or not.

    `keys` are those of its own stages, by their places in its folder.
    """
    own = [home.stage(find_kind(place), key) for place, key in keys.items()]
    return own + [home.stage(kind, key) for kind, key in find_shared_keys(identity).items()]


def list_reached(home: Home, identities: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Return the existing folders of finished trials, and of the stages of all trials; `identities` are by trial id."""
    folders = dict[Path, None]()
    for trial, identity in identities.items():
        folder = home.trial(trial)
        if folder.done:
            folders[folder.path] = None
        keys = folder.keys() if folder.done else {}
        folders |= dict.fromkeys(list_stages(home, identity, keys))
    return [folder for folder in folders if folder.is_dir()]


@dataclass(frozen=True)
class FileSum:
    """A file, its sha256 (`ABSENT` without the file), and the sha256 in its list; a sentence if no list contains it.

    `freed`: it belongs to weights of which no file exists, because a bundle lacks them or `gc` deleted them.
    """

    path: Path
    value: str
    listed: str
    freed: bool = False


def read_sums(folder: Path, *, whole: bool = True) -> Iterator[FileSum]:
    """Compare files with the lists of checksums in a folder and below; if `whole`, every file must be in a list."""
    seen = set[Path]()
    lists = sorted(folder.rglob(SUMS))
    if whole and folder / SUMS not in lists:
        yield FileSum(folder / SUMS, ABSENT, "the checksums of a finished stage")
    for path in lists:
        try:
            sums = read_listed(path.parent)
        except (OSError, ValueError) as error:
            yield FileSum(path, "cannot be read or makes no sense", str(error))
            continue
        for name, value in sums.items():
            file = path.parent / name
            seen.add(file)
            freed = name.startswith("model/") and not (path.parent / "model").exists()
            yield FileSum(file, hash_file(file) if file.is_file() else ABSENT, value, freed)
    for file in list_files_below(folder) if whole else ():
        if file not in seen and not file.relative_to(folder).as_posix().startswith(UNLISTED):
            yield FileSum(file, "is there", f"not listed in {SUMS}")
