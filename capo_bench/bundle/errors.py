"""What stands in the way of a bundle."""

from __future__ import annotations


class BundleError(Exception):
    """A bundle cannot be written, read or unpacked; one thing a line: the file, the cause and the way out."""
