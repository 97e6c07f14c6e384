"""Secrets stay out of a bundle, by the rules of what is tracked (`capo_bench.track.redact`)."""

from __future__ import annotations

import gzip
import zlib

from capo_bench.track.redact import redact


def blotted(path: str, data: bytes) -> tuple[bytes, list[str]]:
    """Return a file without secrets, and the places of those that it had, as ``path:line``.

    Args:
        path: Its place in the bundle; rollouts are looked into though they are packed.
        data: What it holds. What is no text is left as it is.
    """
    packed = path.endswith(".gz")
    try:
        text = (gzip.decompress(data) if packed else data).decode("utf-8")
    except (ValueError, OSError, EOFError, zlib.error):  # damaged: for `capo-bench verify` to tell
        return data, []
    clean = redact(text)
    if clean == text:
        return data, []
    lines = zip(text.split("\n"), clean.split("\n"), strict=False)
    places = [f"{path}:{number}" for number, (had, has) in enumerate(lines, 1) if had != has]
    raw = clean.encode()
    return (gzip.compress(raw, 6, mtime=0) if packed else raw), places or [path]
