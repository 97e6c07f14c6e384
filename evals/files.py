"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part, after any crash."""
    with writing(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Write a file little by little, as `write_atomic` does: it is there when the context ends, unless by an error.

    Raises:
        OSError: It cannot be written; names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: only the owner can read its files, whatever the umask says.
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
            error.filename = str(path)  # a full disk does not say itself which file it was
        raise


def drop_torn(folder: Path) -> None:
    """Delete what killed calls of `write_atomic` left in a folder and below; nobody else may write there now."""
    for path in torn(folder):
        path.unlink()


def torn(folder: Path) -> Iterator[Path]:
    """Yield the temporary files of killed and running calls of `write_atomic` in a folder and below."""
    for path in folder.rglob(".*"):
        if re.fullmatch(r"\..+\.[0-9a-f]{16}", path.name) and path.is_file():
            yield path
