"""Krippendorff's alpha for nominal values: how far raters agree beyond chance, whoever is missing where."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def nominal_alpha(counts: npt.NDArray[np.int64]) -> float | None:
    r"""Return alpha = 1 - D_observed / D_expected.

    With n_uv the ratings of unit u that say v, m_u their number and n_v the ratings that say v, over the units with
    m_u ≥ 2 (n ratings together),

        alpha = 1 - (n - 1) · Σ_u [m_u² - Σ_v n_uv²] / (m_u - 1) / [n² - Σ_v n_v²].

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C.

    Args:
        counts: How many raters gave each unit each value, shape (units, values); a rater that gave none is not in it.

    Returns:
        1 for full agreement, 0 for chance, below 0 for less; None where nothing can be compared: no unit with two
        ratings, or one value alone.
    """
    kept = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    raters = kept.sum(axis=1)
    observed = ((raters**2 - (kept**2).sum(axis=1)) / (raters - 1)).sum()
    ratings = raters.sum()
    expected = ratings**2 - (kept.sum(axis=0) ** 2).sum()
    return float(1 - (ratings - 1) * observed / expected) if expected else None
