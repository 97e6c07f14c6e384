"""What a check found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "warning", "missing", "unknown"]
"""Unknown: it could not be looked at. Only what is missing keeps a study from running."""


@dataclass(frozen=True)
class Finding:
    """One thing that a study needs, and whether it is there.

    Attributes:
        what: The thing, e.g. ``critic endpoint``.
        state: Whether it is there.
        text: What was found.
        remedy: How to get it; empty where nothing is to be done.
    """

    what: str
    state: State
    text: str
    remedy: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the finding as plain data."""
        return asdict(self)
