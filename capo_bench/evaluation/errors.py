"""Why an evaluation is refused."""

from __future__ import annotations

from collections.abc import Sequence


class RefusedError(Exception):
    """The request is refused; one error a line, each with value, rule and way out."""

    def __init__(self, flaws: Sequence[str]) -> None:
        super().__init__("\n".join(dict.fromkeys(flaws)))
