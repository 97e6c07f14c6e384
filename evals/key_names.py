"""Collect the environment variables that hold keys, and match keys in text."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from urllib.parse import quote

KEY_VARIABLES: set[str] = set()
"""Names of the environment variables for keys in all settings that were read so far."""

_NEVER_ESCAPED = "-._~"


def note_key_name(name: str) -> str:
    """Add a name to `KEY_VARIABLES`; return it."""
    KEY_VARIABLES.add(name)
    return name


@lru_cache(maxsize=256)
def match_escaped(secret: str) -> re.Pattern[str]:
    """Return a pattern that matches a secret with each character plain or escaped for a URL, HTML or (nested) JSON."""
    return re.compile("".join(map(_match_character, secret)))


def _match_character(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in _NEVER_ESCAPED):
        return re.escape(character)
    in_url, code = quote(character, safe="", errors="replace"), ord(character)
    forms = {character, in_url, in_url.lower(), html.escape(character), f"&#{code};", f"&#x{code:x};", f"&#x{code:X};"}
    forms |= {"+"} if character == " " else set()
    units = character.encode("utf-16-be", "surrogatepass").hex()
    in_json = "".join(rf"\\+u{units[start : start + 4]}" for start in range(0, len(units), 4))
    return rf"(?:{in_json}|\\*(?:{'|'.join(map(re.escape, sorted(forms, key=len, reverse=True)))}))"
