"""Write and check the checksums of a stage's files, in the format of ``sha256sum``, to detect changed bytes.

A folder's ``SHA256SUMS`` lists the files in it and below; ``sha256sum -c SHA256SUMS`` also checks them. The files of a
stage are listed when the stage has ended. A file that is not listed is still being written: it is read without a check.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath

from evals.files import write_atomic

SUMS = "SHA256SUMS"
_ABOVE = 3
"""Number of folders above a file that may hold its list: a model's files are one or two folders below the trial's."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class ChangedFileError(ValueError):
    """A file differs from what a finished stage wrote; the message names the file and the way out."""


def seal(folder: Path, names: Iterable[str], coming: Mapping[str, bytes] = {}) -> None:
    """List files, and all files below folders; the entries replace earlier ones with the same names.

    Args:
        folder: Folder of the files; the list is written there.
        names: Files and folders in it; missing ones are skipped.
        coming: Content of files that will be written next, by name.
    """
    sums, names = _drop(folder, [*names, *coming]), list(names)
    for path in (path for name in names for path in list_files_below(folder / name)):
        sums[path.relative_to(folder).as_posix()] = hash_file(path)
    sums |= {name: hashlib.sha256(data).hexdigest() for name, data in coming.items()}
    _write(folder, sums)


def unlist(folder: Path, names: Collection[str]) -> None:
    """Remove files from a folder's list, because they will be written again."""
    if (folder / SUMS).exists():
        _write(folder, _drop(folder, names))


def check_file(path: Path) -> None:
    """Compare a file with the list that contains it, if there is one.

    Raises:
        ChangedFileError: Its bytes differ from the checksum.
    """
    for folder in path.parents[:_ABOVE]:
        value = _read(folder / SUMS).get(path.relative_to(folder).as_posix())
        if value is not None:
            if not path.exists() or hash_file(path) != value:
                raise ChangedFileError(
                    f"{path}: its bytes differ from the checksum in {folder / SUMS}; take the file from a "
                    f"copy, or delete {folder}: it will be made again"
                )
            return


def check_folder(folder: Path) -> None:
    """Compare all files below a folder with the lists that contain them.

    Raises:
        ChangedFileError: A file's bytes differ from its checksum.
    """
    for path in list_files_below(folder):
        check_file(path)


def read_listed(folder: Path) -> Mapping[str, str]:
    """Return the sha256 of each file in a folder's list, by path; nothing if there is no list.

    Raises:
        ChangedFileError: The file is not a list of checksums.
    """
    return _read(folder / SUMS)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files_below(path: Path) -> Iterator[Path]:
    """Yield the path if it is a file, else the files below the folder that are not hidden, sorted by name."""
    if path.is_file():
        yield path
    for inner in sorted(path.iterdir()) if path.is_dir() else ():
        if not inner.name.startswith(".") and inner.name != SUMS:
            yield from list_files_below(inner)


def _drop(folder: Path, names: Collection[str]) -> dict[str, str]:
    return {path: value for path, value in _read(folder / SUMS).items() if path.partition("/")[0] not in names}


def _write(folder: Path, sums: Mapping[str, str]) -> None:
    write_atomic(folder / SUMS, "".join(f"{value}  {path}\n" for path, value in sorted(sums.items())))


def _read(path: Path) -> Mapping[str, str]:
    try:
        seen = path.stat()
    except OSError:
        return {}
    return _parse(path, seen.st_mtime_ns, seen.st_size, seen.st_ino)


@lru_cache(maxsize=256)
def _parse(path: Path, *seen: int) -> Mapping[str, str]:
    """Return the content of a list; `seen` distinguishes versions of the file."""
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    sums = {match[2]: match[1] for line in lines[:-1] if (match := _LINE.fullmatch(line))}
    if lines[-1] or len(sums) < len(lines) - 1 or any(map(_leads_out, sums)):
        raise ChangedFileError(f"{path}: no list of checksums; take it from a copy, or delete {path.parent}")
    return sums


def _leads_out(name: str) -> bool:
    """Return whether a name refers to a path outside of the list's folder, as in a malicious bundle."""
    plain = PurePosixPath(name)
    return plain.is_absolute() or ".." in plain.parts
