"""Write a bundle: a gzip tar of plain files, whose bytes depend on the content of the files only.

All files have the same time, owner and mode, and the gzip header has no name and no time. The archive is written next
to its place and moved there when it is complete and on disk. It contains no secrets, by the same rules as tracking
(`capo_bench.track.redact`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from capo_bench.bundle.manifest import BundleError
from capo_bench.track.redact import redact
from evals.checksums import SUMS
from evals.files import open_for_writing

_LEVEL = 6
_MOST_SHOWN = 20
_BINARY = (".safetensors", ".bin")
"""Endings of files without text."""


@dataclass
class Secrets:
    """Secrets in files: their places, as ``place:line``, and the sha256 of the files without them."""

    places: list[str] = field(default_factory=list)
    sums: dict[str, str] = field(default_factory=dict)

    def take_out(self, place: str, data: bytes) -> bytes:
        """Return the content of a file without secrets; a list of checksums gets those of the changed files.

        Packed rollouts are searched too. Binary content stays as it is.
        """
        folder, _, name = place.rpartition("/")
        if name == SUMS and self.sums:
            return self._renew(data, folder)
        packed = place.endswith(".gz")
        try:
            text = (gzip.decompress(data) if packed else data).decode("utf-8")
        except (ValueError, OSError, EOFError, zlib.error):  # binary, or damaged, which `capo-bench verify` reports
            return data
        clean = redact(text)
        if clean == text:
            return data
        lines = zip(text.split("\n"), clean.split("\n"), strict=False)
        self.places += [f"{place}:{number}" for number, (had, has) in enumerate(lines, 1) if had != has]
        data = gzip.compress(clean.encode(), _LEVEL, mtime=0) if packed else clean.encode()
        self.sums[place] = hashlib.sha256(data).hexdigest()
        return data

    def _renew(self, data: bytes, folder: str) -> bytes:
        rows = (row.partition("  ") for row in data.decode().splitlines())
        return "".join(f"{self.sums.get(f'{folder}/{name}', value)}  {name}\n" for value, _, name in rows).encode()

    def refuse(self) -> None:
        """Raise `BundleError` if there were secrets; the message names their places."""
        if self.places:
            rule = "holds a password in a URL, or the value of a variable that is named like a secret"
            more = [f"… and {len(self.places) - _MOST_SHOWN} more"] * (len(self.places) > _MOST_SHOWN)
            way_out = "--blot puts *** in their place; or unset the variable, if it is no secret"
            raise BundleError("\n".join([*(f"{place}: {rule}" for place in self.places[:_MOST_SHOWN]), *more, way_out]))


def write_archive(path: Path, files: Iterable[tuple[str, Path]], secrets: Secrets, *, blot: bool) -> None:
    """Write files, given by their places, into an archive without their secrets; it exists when all are written.

    Raises:
        BundleError: A place is too long, or there are secrets and `blot` is False.
        OSError: A file cannot be read or became shorter meanwhile, or the disk is full.
    """
    with (
        open_for_writing(path) as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", encoding="utf-8", errors="strict") as tar,
    ):
        for place, source in files:
            if place.endswith(_BINARY):
                with source.open("rb") as binary:
                    _add(tar, place, os.fstat(binary.fileno()).st_size, binary)
            else:
                data = secrets.take_out(place, source.read_bytes())
                _add(tar, place, len(data), io.BytesIO(data))
        if not blot:
            secrets.refuse()


def _add(tar: tarfile.TarFile, place: str, size: int, source: IO[bytes]) -> None:
    header = tarfile.TarInfo(place)
    header.size, header.mtime, header.mode = size, 0, 0o644
    # A plain header: no extended one follows, whatever the name. GNU's has longer numbers.
    tar.format = tarfile.USTAR_FORMAT if size < 8 * 2**30 else tarfile.GNU_FORMAT
    try:
        tar.addfile(header, source)
    except ValueError as error:
        raise BundleError(f"{place}: cannot be bundled ({error}); choose shorter names") from error
