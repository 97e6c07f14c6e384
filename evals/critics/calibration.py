"""Does a share of votes mean what it says: of steps that three critiques in ten flag, are three in ten wrong?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MOST_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Steps whose shares of votes lie near each other: how many, their mean share, and the share that is wrong."""

    steps: int
    share: float
    wrong: float


@dataclass(frozen=True)
class Calibration:
    """How shares of votes stand to the truth.

    Attributes:
        steps: Labelled steps with a share.
        bins: Reliability table, from low shares to high; bins without a step are left out.
        error: Expected calibration error, Σ (steps of a bin / steps) · abs(share - wrong); None without a step.
        brier: Mean squared distance of share and label (1 = wrong); None without a step.
    """

    steps: int
    bins: tuple[Bin, ...]
    error: float | None
    brier: float | None


def calibration(shares: FloatArray, wrong: npt.NDArray[np.bool_], votes: int) -> Calibration:
    """Compare shares of votes with labels.

    Up to ten votes there is a bin for every share that they can make (those with abstentions join the nearest);
    above, shares are rounded to tenths.

    Args:
        shares: Share of the critiques that flag each labelled step, shape (steps,).
        wrong: Whether the step is wrong, same shape.
        votes: How many critiques a share is made of, where none abstained.
    """
    if not shares.size:
        return Calibration(0, (), None, None)
    places = np.rint(shares * min(votes, MOST_BINS)).astype(np.int64)
    bins = tuple(_bin(shares[places == place], wrong[places == place]) for place in np.unique(places))
    error = sum(part.steps * abs(part.share - part.wrong) for part in bins) / shares.size
    return Calibration(shares.size, bins, float(error), float(((shares - wrong) ** 2).mean()))


def _bin(shares: FloatArray, wrong: npt.NDArray[np.bool_]) -> Bin:
    return Bin(shares.size, float(shares.mean()), float(wrong.mean()))
