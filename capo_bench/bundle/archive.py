"""Writing a bundle: a gzip tar of plain files whose bytes depend on nothing but their content.

Paths are sorted, every file has the same time, owner and mode, and gzip is told no name and no time. The archive is
written beside its place and moved there when it is whole and on disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from capo_bench.bundle.errors import BundleError
from capo_bench.bundle.manifest import Listed, Manifest
from capo_bench.bundle.secrets import blotted
from evals.checksums import SUMS, file_sum
from evals.files import writing

if TYPE_CHECKING:
    from capo_bench.bundle.contents import BundledFile

Tell = Callable[[int, int], None]
"""Told how much is done of how much, in any unit."""

BLOCK = 2**20
_LEVEL, _RECORD = 6, 512
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
    items: Sequence[BundledFile], *, blot: bool, tell: Tell = lambda done, total: None
) -> tuple[list[BundledFile], list[Listed]]:
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
    if places:
        _list_blotted(kept, lines)
    return kept, lines


def _list_blotted(items: list[BundledFile], lines: list[Listed]) -> None:
    """Write the new checksums of files into the lists of checksums that name them."""
    new = {line.path: line.sha256 for line in lines if line.blotted}
    for place, item in enumerate(items):
        folder, _, name = item.path.rpartition("/")
        if name == SUMS and isinstance(item.source, Path):
            old = item.source.read_text(encoding="utf-8").splitlines()
            sums = [
                (new.get(f"{folder}/{path}", value), path) for value, _, path in (row.partition("  ") for row in old)
            ]
            data = "".join(f"{value}  {path}\n" for value, path in sums).encode()
            items[place] = replace(item, source=data)
            lines[place] = replace(lines[place], size=len(data), sha256=hashlib.sha256(data).hexdigest())


def size_of(items: Sequence[BundledFile]) -> int:
    """Return the bytes of files."""
    return sum(len(item.source) if isinstance(item.source, bytes) else item.source.stat().st_size for item in items)


def write_archive(
    path: Path, manifest: Manifest, items: Sequence[BundledFile], tell: Tell = lambda done, total: None
) -> str:
    """Write a bundle, and return its sha256.

    Raises:
        BundleError: A file changed since it was listed.
        OSError: The disk is full, or cannot be written.
    """
    with writing(path) as file, gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed:
        _write(packed, manifest, items, tell)
    return file_sum(path)


def _write(packed: gzip.GzipFile, manifest: Manifest, items: Sequence[BundledFile], tell: Tell) -> None:
    counter, first = Counter(size_of(items), tell), manifest.dump()
    _add(packed, manifest.path, len(first), io.BytesIO(first), lambda block: None)
    for item, line in zip(items, manifest.files, strict=True):
        digest = hashlib.sha256()
        with _open(item) as file:
            whole = _add(packed, item.path, line.size, file, digest.update)
            if not whole or file.read(1) or digest.hexdigest() != line.sha256:
                raise BundleError(
                    f"{item.source if isinstance(item.source, Path) else item.path}: changed while it was bundled; "
                    "bundle again when nothing writes there"
                )
        counter.add(line.size)
    packed.write(bytes(2 * _RECORD))


def _add(packed: gzip.GzipFile, path: str, size: int, file: IO[bytes], see: Callable[[bytes], None]) -> bool:
    """Write a member; False if the file has fewer bytes than it should."""
    packed.write(_header(path, size))
    left = size
    while left and (block := file.read(min(left, BLOCK))):
        see(block)
        left -= packed.write(block)
    packed.write(bytes(-size % _RECORD))
    return not left


def _header(path: str, size: int) -> bytes:
    """Return a plain header: no extended one follows, whatever the name and the size.

    Raises:
        BundleError: The path is too long for one.
    """
    header = tarfile.TarInfo(path)
    header.size, header.mtime, header.mode = size, 0, 0o644
    try:  # GNU's has longer numbers
        data = header.tobuf(tarfile.USTAR_FORMAT if size < 8 * 2**30 else tarfile.GNU_FORMAT, "utf-8", "strict")
    except ValueError as error:
        raise BundleError(f"{path}: cannot be bundled ({error}); choose shorter names") from error
    if len(data) != _RECORD:
        raise BundleError(f"{path}: its name is too long for a file of {size:,} bytes; choose a shorter one")
    return data


def _open(item: BundledFile) -> IO[bytes]:
    return io.BytesIO(item.source) if isinstance(item.source, bytes) else item.source.open("rb")


def _hashed(file: IO[bytes], counter: Counter) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := file.read(BLOCK):
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
