"""Krippendorff's alpha for nominal values: how far raters agree beyond chance, whoever is missing where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evals.critics.metrics import FloatArray, ShareEstimate, by_group, interval, resampled


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
    alphas = _alphas(_terms(counts).sum(axis=0)[None])
    return float(alphas[0]) if alphas.size else None


def alpha_estimate(counts: npt.NDArray[np.int64], groups: Sequence[str]) -> ShareEstimate:
    """Return `nominal_alpha` with its 95 % interval, a bootstrap over whole groups.

    Args:
        counts: As for `nominal_alpha`, shape (units, values).
        groups: What each unit shares chance with other units by, as a rule the problem.
    """
    terms = by_group(_terms(counts), groups)
    return ShareEstimate(nominal_alpha(counts), *interval(_alphas(resampled(terms))))


def _terms(counts: npt.NDArray[np.int64]) -> FloatArray:
    """Return the inner sum of each unit and then its ratings by value, shape (units, 1 + values); 0 with one rating."""
    kept = np.where(counts.sum(axis=1, keepdims=True) >= 2, counts, 0).astype(np.float64)
    raters = kept.sum(axis=1)
    unlike = (raters**2 - (kept**2).sum(axis=1)) / np.maximum(raters - 1, 1)
    return np.column_stack([unlike, kept])


def _alphas(sums: FloatArray) -> FloatArray:
    """Return alpha of each row of summed terms, those left out where it is not defined."""
    ratings = sums[:, 1:].sum(axis=1)
    expected = ratings**2 - (sums[:, 1:] ** 2).sum(axis=1)
    defined = expected > 0
    return np.asarray(1 - (ratings[defined] - 1) * sums[defined, 0] / expected[defined], dtype=np.float64)
