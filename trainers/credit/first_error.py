"""From the first error on: what the vote charges a step, every later step is charged as well.

A step that rests on an error earns nothing by being right in itself; one before it is not blamed for what came after.
"""

from __future__ import annotations

import numpy as np

from trainers.credit.arrays import FloatArray


def from_first_error(shares: FloatArray) -> FloatArray:
    """Charge every step the largest share that it or a step before it is charged.

    Of a vote that names a set, that is 1 from the first wrong step on; of `average`, where shares lie between 0 and 1,
    a step is never charged less than one before it.

    Args:
        shares: Penalty share of each step as voted, along the last axis.
    """
    return np.asarray(np.maximum.accumulate(shares, axis=-1))
