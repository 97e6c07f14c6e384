"""Define a credit method: a pure function from a batch and the study's settings to the advantages of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainers.credit.batch import Batch, Earned
from trainers.credit.normalization import Normalization, all_tokens


@dataclass(frozen=True)
class Terms:
    """The study's settings for credit; each method uses some of them.

    Attributes:
        temperature: T of a method that weights steps by their scores; None is its limit of 0.
        segment: Number of steps that are credited together, for methods that credit segments.
    """

    w_whole: float = 2.0
    w_process: float = 1.0
    normalization: Normalization = all_tokens
    temperature: float | None = None
    segment: int = 2


CreditFunction = Callable[[Batch, Terms], Earned]
