"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part, after any crash.

    Args:
        path: The file; its folder is created if it is missing.
        data: Its content; text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `tempfile`: only the owner can read its files, whatever the umask says.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with part.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
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
