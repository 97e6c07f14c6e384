"""Do scores tell wrong steps from right ones, whatever the threshold? The area under the ROC curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.critics.metrics import BoolArray, FloatArray, ShareEstimate, interval, times_drawn


def area_estimate(doubts: FloatArray, wrong: BoolArray, groups: Sequence[str]) -> ShareEstimate:
    """Return the chance that a wrong step is doubted more than a right one, equal doubts counting half.

    This is the area under the ROC curve: Mann and Whitney's U over the number of pairs. Its 95 % interval is a
    bootstrap over whole groups; draws without a wrong or without a right step are left out.

    Args:
        doubts: The larger, the less a step is believed, shape (steps,).
        wrong: Whether the step is wrong, same shape.
        groups: What each step shares chance with other steps by, as a rule the problem.

    Returns:
        No value without a wrong and a right step.
    """
    places = np.unique(doubts, return_inverse=True)[1]
    names, rows = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    draws = [_area(places, wrong, times[rows]) for times in times_drawn(len(names))]
    value = _area(places, wrong, np.ones(len(places)))
    areas = np.array([draw for draw in draws if draw is not None], dtype=np.float64)
    return ShareEstimate(None) if value is None else ShareEstimate(value, *interval(areas))


def _area(places: np.ndarray[tuple[int], np.dtype[np.intp]], wrong: BoolArray, weights: FloatArray) -> float | None:
    """Return the area of steps by the rank of their doubt, each counted as often as its weight says."""
    most = int(places.max(initial=-1)) + 1
    bad, good = (np.bincount(places, weights * kind, most) for kind in (wrong, ~wrong))
    pairs = bad.sum() * good.sum()
    return float(bad @ (np.cumsum(good) - good / 2) / pairs) if pairs else None
