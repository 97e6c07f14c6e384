"""Read a bundle, which may be hostile: all of it is checked before a byte is written.

A bundle is a gzip tar of plain files with plain headers: no links, no sparse files, no extended headers. The first file
is the manifest. A member that is not a plain file, has no place in a results folder, occurs twice or is larger than
such files can be is an error, and then nothing is unpacked. Checksums are compared later (`capo_bench.store.walk`).
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from capo_bench.bundle.manifest import MOST_MANIFEST, NAME, BundleError, Manifest, check_path, load_manifest
from evals.checksums import SUMS

Tell = Callable[[int, int], None]
"""Called with the amount that is done and the total, in any unit."""

MOST_FILES = 150_000
MOST_RATIO = 200
"""Factor by which a bundle may grow, with all packed files in it: text grows by at most 30, a bomb by 1,000."""

SLACK = 2**24
"""Bytes by which a bundle of any size may grow."""

MOST_TEXT = 2**28
"""Bytes of one file other than weights, packed or not: it is read into memory."""

MOST_JSON = 2**26
"""Bytes of one JSON document, which needs many times as much memory; a plan of 10,000 trials is smaller."""

_BLOCK = 2**20
_HEADER = 512
_PLAIN = {tarfile.REGTYPE, tarfile.AREGTYPE}


def extract(path: Path, folder: Path, tell: Tell = lambda done, total: None) -> Manifest:
    """Unpack a bundle into an empty folder, which becomes a results folder, and return its manifest.

    `tell` gets the bytes read. Their total is twice the archive's size, because it is checked before it is unpacked.

    Raises:
        BundleError: It is no bundle, cut short or hostile; the message names the member. Nothing is written then.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            _, total = _read(file, size, None, lambda: tell(file.tell(), 2 * size))
            _check_space(total, folder)
            file.seek(0)
            manifest, _ = _read(file, size, folder, lambda: tell(size + file.tell(), 2 * size))
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: no bundle, or one that is damaged or cut short ({error}); get it again") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be unpacked ({error}); free space, or name another folder") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return manifest


def _check_space(total: int, folder: Path) -> None:
    if total > shutil.disk_usage(folder).free:
        raise BundleError(f"it holds {total:,} bytes, more than are free in {folder}; free space")


def _read(file: IO[bytes], size: int, folder: Path | None, tell: Callable[[], None]) -> tuple[Manifest, int]:
    """Read a bundle once, and write its files into the folder, if there is one; return manifest and number of bytes."""
    with gzip.GzipFile(fileobj=file) as packed:
        tar = _Stream(packed, MOST_RATIO * size + SLACK)
        members = _list_members(tar)
        manifest = _read_manifest(tar, next(members, None))
        total, seen = 0, {manifest.path}
        if folder is not None:
            with _create(folder / manifest.path) as target:
                target.write(manifest.dump())
        for name, length in members:
            check_path(manifest.study, name)
            if name in seen:
                raise BundleError(f"{name!r} is there twice")
            seen.add(name)
            total += length
            _write_file(tar, name, length, folder)
            tell()
        while tar.read(_BLOCK):  # gzip's own checksum is at the end
            pass
    return manifest, total


def _list_members(tar: _Stream) -> Iterator[tuple[str, int]]:
    """Yield name and size of each member; its content must be read before the next member."""
    for number in range(MOST_FILES + 2):
        block = tar.read_all(_HEADER)
        if not block.strip(b"\0"):
            return
        if number > MOST_FILES:
            raise BundleError(f"more than {MOST_FILES:,} files; no study has so many")
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        if header.type not in _PLAIN or header.size < 0:
            raise BundleError(f"{header.name!r} is a link or no plain file; bundles hold plain files alone")
        yield header.name, header.size
        tar.read_all(-header.size % _HEADER)


def _read_manifest(tar: _Stream, first: tuple[str, int] | None) -> Manifest:
    name, size = first or ("", 0)
    if not name.startswith("studies/") or name.rpartition("/")[2] != NAME:
        raise BundleError(f"no bundle: its first file is not a manifest, studies/<name>/{NAME}")
    if size > MOST_MANIFEST:
        raise BundleError(f"{name}: a manifest of {size:,} bytes; none has more than {MOST_MANIFEST:,}")
    return load_manifest(tar.read_all(size), name)


def _write_file(tar: _Stream, name: str, size: int, folder: Path | None) -> None:
    most = MOST_JSON if name.endswith((".json", SUMS)) else MOST_TEXT
    if size > most and not name.endswith(".safetensors"):
        raise BundleError(f"{name!r}: {size:,} bytes, more than the {most:,} that such a file ever has")
    content = _Content(tar, size)
    if folder is not None:
        with _create(folder / name) as target:
            shutil.copyfileobj(content, target, _BLOCK)
    elif name.endswith(".gz"):
        _check_packed(name, content, tar)
    while content.read(_BLOCK):  # without the rest of it, if it is damaged
        pass


def _check_packed(name: str, content: _Content, tar: _Stream) -> None:
    """Unpack a packed file without writing it, to refuse one that would fill a reader's memory."""
    grown = 0
    with suppress(EOFError, zlib.error, gzip.BadGzipFile), gzip.GzipFile(fileobj=content) as packed:
        while block := packed.read(_BLOCK):
            tar.count(len(block))
            grown += len(block)
            if grown > MOST_TEXT:
                raise BundleError(f"{name!r} grows to more than {MOST_TEXT:,} bytes: a bomb")


def _create(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


class _Stream:
    """The unpacked bytes of a bundle. Counts them and those of packed files in it, to refuse a bomb."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self._file, self._most, self._left = file, most, most

    def count(self, amount: int) -> None:
        """Count unpacked bytes."""
        self._left -= amount
        if self._left < 0:
            raise BundleError(f"grows to more than {self._most:,} bytes when it is unpacked: a bomb")

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        data = self._file.read(size)
        self.count(len(data))
        return data

    def read_all(self, size: int) -> bytes:
        """Return `size` bytes.

        Raises:
            EOFError: There are fewer.
        """
        data = self.read(size)
        if len(data) != size:
            raise EOFError(f"{size - len(data):,} more bytes were to come")
        return data


class _Content(io.RawIOBase):
    """The content of one member."""

    def __init__(self, tar: _Stream, size: int) -> None:
        self._tar, self._left = tar, size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, at most `size` and a block; none at the end."""
        data = self._tar.read_all(min(self._left, _BLOCK if size < 0 else size))
        self._left -= len(data)
        return data
