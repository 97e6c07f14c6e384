"""Reading a bundle that anybody may have made: nothing is written outside, and nothing grows without bound.

The first file is the manifest. A member that is no plain file, that has no place in a results folder, or that comes
twice ends the reading. So do contents that are larger than such files ever are when packed. What is whole in itself and
only differs from the manifest is told, for `capo-bench verify` to go on with.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from capo_bench.bundle.archive import Counter, Tell
from capo_bench.bundle.errors import BundleError
from capo_bench.bundle.manifest import NAME, Listed, Manifest, bad_paths, load_manifest

MOST_RATIO = 200
"""Times that a file may grow when it is unpacked: text that repeats itself grows by 30, a bomb by 1,000."""

SLACK = 2**24
"""Bytes that anything may grow by, whatever its size."""

MOST_FILES = 1_000_000
_MOST_MANIFEST = 2**28
_MOST_HEADER = 2**16
_BLOCK = 2**20


@dataclass(frozen=True)
class Unlike:
    """A file that is not as the manifest says.

    Attributes:
        path: The file.
        said: What the manifest says of it.
        found: What was found.
    """

    path: str
    said: str
    found: str


@dataclass(frozen=True)
class Extracted:
    """What was read.

    Attributes:
        manifest: The manifest.
        unlike: Files that are not as it says.
    """

    manifest: Manifest
    unlike: tuple[Unlike, ...]


def extract(path: Path, folder: Path, tell: Tell = lambda done, total: None) -> Extracted:
    """Unpack a bundle into an empty folder, which is a results folder then.

    Args:
        path: The bundle.
        folder: Where to.
        tell: Told of the bytes unpacked.

    Raises:
        BundleError: It is no bundle, cut short, or one that would do harm; names the member.
    """
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file) as unpacked:
            bounded = _Bounded(unpacked, MOST_RATIO * path.stat().st_size + SLACK)
            with tarfile.open(fileobj=bounded, mode="r|", encoding="utf-8", tarinfo=_Header) as tar:
                extracted = _extract(tar, folder, tell)
            while bounded.read(_BLOCK):  # to the end, where gzip's own checksum is
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BundleError(f"{path}: no bundle, or one that is damaged or cut short ({error}); get it again") from error
    except OSError as error:
        raise BundleError(f"{path}: cannot be unpacked ({error}); free space, or get the bundle again") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    return extracted


def _extract(tar: tarfile.TarFile, folder: Path, tell: Tell) -> Extracted:
    members = _members(tar)
    first = next(members, None)
    if first is None or not first.name.startswith("studies/") or Path(first.name).name != NAME:
        raise BundleError(f"no bundle: its first file is not a manifest, studies/<name>/{NAME}")
    if first.size > _MOST_MANIFEST:
        raise BundleError(f"{first.name}: a manifest of {first.size:,} bytes; none is so large")
    manifest = load_manifest(_content(tar, first).read(), first.name)
    total = sum(one.size for one in manifest.files)
    if total > shutil.disk_usage(folder).free:
        raise BundleError(f"it holds {total:,} bytes, more than are free in {folder}; free space")
    _put(folder / manifest.path, io.BytesIO(manifest.dump()), Counter(0, lambda done, total: None))
    wanted, seen, counter = {one.path: one for one in manifest.files}, {manifest.path}, Counter(total, tell)
    unlike = []
    for member in members:
        listed = wanted.get(member.name)
        if flaws := bad_paths(manifest.study, [member.name]):
            raise BundleError(flaws[0])
        if member.name in seen:
            raise BundleError(f"{member.name!r} is there twice")
        seen.add(member.name)
        if listed is None:
            unlike.append(Unlike(member.name, "not there", f"{member.size} bytes"))
            continue
        unlike += _file(folder / member.name, _content(tar, member), listed, counter)
    unlike += [Unlike(name, f"{wanted[name].size} bytes", "not there") for name in wanted.keys() - seen]
    return Extracted(manifest, tuple(sorted(unlike, key=lambda one: one.path)))


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for number, member in enumerate(tar):
        if number > MOST_FILES:
            raise BundleError(f"more than {MOST_FILES:,} files; no study has so many")
        yield member


class _Header(tarfile.TarInfo):
    """A header, refused before anything that it says is done."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        # An extended header is how tar writes long names and sizes; it is read into memory at once.
        extended = header.type == tarfile.XHDTYPE and header.size <= _MOST_HEADER
        if header.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} and not extended:
            raise BundleError(f"{header.name!r} is a link or no plain file; bundles hold plain files alone")
        return header


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise BundleError(f"{member.name!r} is no plain file; bundles hold plain files alone")
    return content


def _file(path: Path, content: IO[bytes], listed: Listed, counter: Counter) -> list[Unlike]:
    size, digest = _put(path, content, counter)
    if path.suffix == ".gz":
        _check_grows(path, listed.path)
    if size != listed.size:
        return [Unlike(listed.path, f"{listed.size} bytes", f"{size} bytes")]
    if digest != listed.sha256:
        return [Unlike(listed.path, f"sha256 {listed.sha256[:12]}…", f"sha256 {digest[:12]}…")]
    return []


def _put(path: Path, content: IO[bytes], counter: Counter) -> tuple[int, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        while block := content.read(_BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
            counter.add(len(block))
    return size, digest.hexdigest()


def _check_grows(path: Path, name: str) -> None:
    """Refuse packed rollouts that would fill the memory; damaged ones are for their reader to tell."""
    most, grown = MOST_RATIO * path.stat().st_size + SLACK, 0
    try:
        with gzip.open(path) as file:
            while block := file.read(_BLOCK):
                grown += len(block)
                if grown > most:
                    raise BundleError(f"{name!r} grows more than {MOST_RATIO}-fold when it is unpacked: a bomb")
    except (OSError, EOFError, zlib.error):
        return


class _Bounded(io.RawIOBase):
    """A stream that ends in an error when it brings more than it may."""

    def __init__(self, file: gzip.GzipFile, most: int) -> None:
        self._file, self._most, self._left = file, most, most

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise BundleError(
                f"grows to more than {self._most:,} bytes, {MOST_RATIO}-fold, when it is unpacked: a bomb"
            )
        return data
