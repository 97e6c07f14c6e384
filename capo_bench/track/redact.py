"""Secrets stay out of what is logged: values of environment variables that are named like one, passwords in URLs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
# TOKENIZERS_PARALLELISM=false and MAX_TOKENS=100000 are named alike and are no secrets.
_SHORTEST = 6
_NUMBER = re.compile(r"[\d.,+-]+")
_URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return `text` with each secret replaced by ``***NAME***``, the name of the variable that holds it.

    Args:
        text: What is about to be logged; JSON too.
        environ: Where the secrets are.
    """
    # Longest first: a secret may contain another.
    for name, value in sorted(_secrets(environ), key=lambda secret: -len(secret[1])):
        for form in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            text = text.replace(form, f"***{name}***")
    return _URL_PASSWORD.sub("***", text)


def _secrets(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in environ.items()
        if _NAMES.search(name) and len(value) >= _SHORTEST and not _NUMBER.fullmatch(value)
    ]
