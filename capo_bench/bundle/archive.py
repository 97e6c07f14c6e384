"""Writing a bundle: a gzip tar of plain files whose bytes depend on nothing but their content.

Paths are sorted, every file has the same time, owner and mode, and gzip is told no name and no time. The archive is
written beside its place and moved there when it is whole and on disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import secrets
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from capo_bench.bundle.contents import Item
from capo_bench.bundle.errors import BundleError
from capo_bench.bundle.manifest import Listed, Manifest
from capo_bench.bundle.secrets import blotted

Tell = Callable[[int, int], None]
"""Told how much is done of how much, in any unit."""

_BLOCK = 2**20
_LEVEL = 6
_MOST_TOLD = 20


@dataclass
class Counter:
    """Adds up what is done and tells of it."""

    total: int
    tell: Tell
    done: int = 0

    def add(self, amount: int) -> None:
        """Count what was done now."""
        self.done += amount
        self.tell(self.done, self.total)


def listed(
    items: Sequence[Item], *, blot: bool, tell: Tell = lambda done, total: None
) -> tuple[list[Item], list[Listed]]:
    """Return the files as they go into the bundle, and their lines of the manifest.

    Args:
        items: The files.
        blot: Take secrets out; otherwise they are refused.
        tell: Told of the bytes read.

    Raises:
        BundleError: Files hold what looks like a secret; all places are named.
        OSError: A file cannot be read.
    """
    counter = Counter(size_of(items), tell)
    kept, lines, places = [], [], list[str]()
    for item in items:
        if item.binary:
            with _open(item) as file:
                kept.append(item)
                lines.append(Listed(item.path, *_hashed(file, counter)))
            continue
        data = item.source if isinstance(item.source, bytes) else item.source.read_bytes()
        clean, found = blotted(item.path, data)
        places += found
        kept.append(replace(item, source=clean) if found else item)
        lines.append(Listed(item.path, len(clean), hashlib.sha256(clean).hexdigest(), bool(found)))
        counter.add(len(data))
    if places and not blot:
        raise BundleError("\n".join(_told(places)))
    return kept, lines


def size_of(items: Sequence[Item]) -> int:
    """Return the bytes of files."""
    return sum(len(item.source) if isinstance(item.source, bytes) else item.source.stat().st_size for item in items)


def write_archive(path: Path, manifest: Manifest, items: Sequence[Item], tell: Tell = lambda done, total: None) -> str:
    """Write a bundle, and return its sha256.

    Raises:
        BundleError: A file changed since it was listed.
        OSError: The disk is full, or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            with gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
                _write(packed, manifest, items, tell)
            file.flush()
            os.fsync(file.fileno())
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return digest


def _write(packed: gzip.GzipFile, manifest: Manifest, items: Sequence[Item], tell: Tell) -> None:
    counter = Counter(size_of(items), tell)
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        first = manifest.dump()
        tar.addfile(_header(manifest.path, len(first)), io.BytesIO(first))
        for item, line in zip(items, manifest.files, strict=True):
            with _open(item) as file:
                told = _Told(file, counter)
                try:
                    tar.addfile(_header(item.path, line.size), told)
                except OSError as error:
                    if not told.ended:
                        raise
                    raise _changed(item) from error
                if file.read(1) or told.digest.hexdigest() != line.sha256:
                    raise _changed(item)


def _changed(item: Item) -> BundleError:
    return BundleError(
        f"{item.source if isinstance(item.source, Path) else item.path}: changed while it was bundled; "
        "bundle again when nothing writes there"
    )


def _header(path: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.size, header.mtime, header.mode = size, 0, 0o644
    return header


class _Told(io.RawIOBase):
    """A file that hashes and counts what is read of it."""

    def __init__(self, file: IO[bytes], counter: Counter) -> None:
        self._file, self._counter = file, counter
        self.digest, self.ended = hashlib.sha256(), False

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.ended = not data
        self.digest.update(data)
        self._counter.add(len(data))
        return data


def _open(item: Item) -> IO[bytes]:
    return io.BytesIO(item.source) if isinstance(item.source, bytes) else item.source.open("rb")


def _hashed(file: IO[bytes], counter: Counter) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK):
        digest.update(block)
        size += len(block)
        counter.add(len(block))
    return size, digest.hexdigest()


def _told(places: Sequence[str]) -> list[str]:
    more = [f"… and {len(places) - _MOST_TOLD} more"] * (len(places) > _MOST_TOLD)
    return [
        *(
            f"{place}: holds a password in a URL, or the value of a variable that is named like a secret"
            for place in places[:_MOST_TOLD]
        ),
        *more,
        "--blot puts *** in their place; or unset the variable, if it is no secret",
    ]
