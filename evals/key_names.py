"""The environment variables that hold keys, as settings name them."""

from __future__ import annotations

KEY_VARIABLES: set[str] = set()
"""Names of environment variables that the settings read so far name for a key."""


def note_key_name(name: str) -> str:
    """Add a name to `KEY_VARIABLES`; return it."""
    KEY_VARIABLES.add(name)
    return name
