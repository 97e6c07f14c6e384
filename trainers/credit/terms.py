"""What a method of credit is: a pure function from a batch and the study's settings to what its steps earn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainers.credit.batch import Batch, Earned
from trainers.credit.normalization import Normalization, all_tokens


@dataclass(frozen=True)
class Terms:
    """What a study sets of credit; a method heeds some of it.

    Attributes:
        temperature: T of a method that weighs steps by their scores; None is its limit of 0.
        segment: Steps that are credited together, where a method credits several.
    """

    w_whole: float = 2.0
    w_process: float = 1.0
    normalization: Normalization = all_tokens
    temperature: float | None = None
    segment: int = 2


CreditFunction = Callable[[Batch, Terms], Earned]
