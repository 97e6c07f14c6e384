"""What kind of answer a problem asks for: what a verifier must know in addition to the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AnswerKind = Literal["math", "choice"]


@dataclass(frozen=True)
class Form:
    """The form of a reference answer.

    Attributes:
        kind: ``math`` (anything that LaTeX can say) or ``choice`` (the reference is a letter, A for the first option).
        several: The reference names several values separated by commas; an answer must name all of them, in any order.
        unit: Unit of the reference where the benchmark stores it separately; an answer may state it or leave it out.
        options: Texts of the options of a choice, in order; an answer may be an option's text instead of its letter.
    """

    kind: AnswerKind = "math"
    several: bool = False
    unit: str | None = None
    options: tuple[str, ...] = ()


MATHEMATICAL = Form()
"""A mathematical answer, one value, no unit of its own."""
