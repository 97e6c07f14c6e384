"""Remove secrets from logged text: values of variables that hold keys, and passwords in URLs.

A variable holds a key if settings name it or if its name looks like one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from evals.key_names import KEY_VARIABLES, match_escaped

_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
# TOKENIZERS_PARALLELISM=false and MAX_TOKENS=100000 have similar names but are not secrets.
_SHORTEST = 6
_NUMBER = re.compile(r"[\d.,+-]+")
_URL_PASSWORD = re.compile(r"""(?<=://)[^/\s:@"']*:[^/\s"']+(?=@)|(?<=[?&]password=)[^&\s"']+""")
# Matches only a whole value, where there is no ambiguity: a password may contain a slash or an @.
_URL = re.compile(r"[\w+.-]+://[^/\s:@]*:(?P<password>\S+)@\S*")


def redact(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return `text` with each secret, escaped or not, replaced by ``***NAME***`` of the variable that holds it."""
    # Longest first, because a secret may contain another.
    for name, value in sorted(_list_secrets(environ), key=lambda secret: -len(secret[1])):
        if len(value) < _SHORTEST or (_NUMBER.fullmatch(value) and name not in KEY_VARIABLES):
            continue
        text = f"***{name}***".join(match_escaped(value).split(text))
    return _URL_PASSWORD.sub("***", text)


def _list_secrets(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield secrets of variables with secret names, and passwords in URL values, as written and decoded."""
    for name, value in environ.items():
        if _NAMES.search(name) or name in KEY_VARIABLES:
            yield name, value
        if match := _URL.fullmatch(value):
            yield name, match["password"]
            yield name, unquote(match["password"])
