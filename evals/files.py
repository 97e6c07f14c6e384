"""Write files atomically: a file is either complete or absent."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees either the old or the new content, never a part, even after a crash."""
    with open_for_writing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def open_for_writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file in parts, as atomically as `write_atomic`: it exists when the context ends without an error.

    Raises:
        OSError: The file cannot be written; the error names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: only the owner can read its files, regardless of the umask.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the error of a full disk does not name the file
        raise


def drop_torn(folder: Path) -> None:
    """Delete temporary files of killed `write_atomic` calls in a folder and below; no process may write there now."""
    for path in find_torn(folder):
        path.unlink()


def find_torn(folder: Path) -> Iterator[Path]:
    """Yield the temporary files of killed and running calls of `write_atomic` in a folder and below."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\..+\.[0-9a-f]{16}", path.name) and path.is_file():
            yield path
