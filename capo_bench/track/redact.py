"""Secrets stay out of what is logged: keys by the variable that settings name or by its name, and passwords in URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from evals.key_names import KEY_VARIABLES, match_escaped

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
# TOKENIZERS_PARALLELISM=false and MAX_TOKENS=100000 are named alike and are no secrets.
_SHORTEST = 6
_NUMBER = re.compile(r"[\d.,+-]+")
_URL_PASSWORD = re.compile(r"""(?<=://)[^/\s:@"']*:[^/\s"']+(?=@)|(?<=[?&]password=)[^&\s"']+""")
# A whole value, in which nothing else can be meant: a password may hold a slash or an @.
_URL = re.compile(r"[\w+.-]+://[^/\s:@]*:(?P<password>\S+)@\S*")


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return `text` with ``***NAME***`` for each secret, escaped or not, by the variable that holds it."""
    # Longest first: a secret may contain another.
    for name, value in sorted(_held(environ), key=lambda secret: -len(secret[1])):
        if len(value) < _SHORTEST or _NUMBER.fullmatch(value):
            continue
        text = f"***{name}***".join(match_escaped(value).split(text))
    return _URL_PASSWORD.sub("***", text)


def _held(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is secret by its variable's name or by its place in a URL, there also as it reads decoded."""
    for name, value in environ.items():
        if _NAMES.search(name) or name in KEY_VARIABLES:
            yield name, value
        if match := _URL.fullmatch(value):
            yield name, match["password"]
            yield name, unquote(match["password"])
