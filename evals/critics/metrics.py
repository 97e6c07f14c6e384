"""Measure the agreement of flags with labels and with each other, with intervals that respect correlated steps.

These are pure functions on arrays. An undefined quantity (a precision without a flag) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from evals.critics.labels import StepLabels

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

DRAWS = 2000
"""Number of bootstrap draws of an interval."""

LEVEL = 0.95
"""Confidence level of every interval."""


@dataclass(frozen=True)
class ShareEstimate:
    """A share from 0 to 1 with its interval.

    Attributes:
        value: The share; None if it is undefined.
        low: Lower end of the 95 % interval; None if there is no value, or only one group.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class StepScores:
    """Agreement of flags with labels over the labelled steps of some solutions.

    Attributes:
        precision: Share of the flagged steps that are wrong.
        recall: Share of the wrong steps that are flagged.
        f1: Their harmonic mean, 2·TP / (2·TP + FP + FN).
        false_alarm: Share of the right steps that are flagged.
    """

    steps: int
    wrong: int
    flagged: int
    precision: ShareEstimate
    recall: ShareEstimate
    f1: ShareEstimate
    false_alarm: ShareEstimate


def score_steps(flags: Sequence[BoolArray], labels: Sequence[StepLabels]) -> StepScores:
    """Compute the scores of the flags of whole solutions.

    Args:
        flags: The flags of each solution, shape (steps,).
        labels: The labels of the same solutions.

    Raises:
        ValueError: Flags and labels differ in the number of solutions or steps.
    """
    counts = np.array([_count_outcomes(*pair) for pair in zip(flags, labels, strict=True)], dtype=np.float64).reshape(
        -1, 4
    )
    return compute_scores(sum_by_group(counts, [label.group or f"#{row}" for row, label in enumerate(labels)]))


def compute_scores(grouped: FloatArray) -> StepScores:
    """Compute the scores from counts of steps that are summed over groups of correlated solutions.

    Args:
        grouped: True positives, false positives, false negatives and true negatives of each group, shape (groups, 4).
    """
    total, drawn = grouped.sum(axis=0), resample(grouped)
    hit, alarm, miss, calm = (int(count) for count in total)
    ratios: Mapping[str, tuple[FloatArray, FloatArray]] = {
        "precision": (np.array([1.0, 0, 0, 0]), np.array([1.0, 1, 0, 0])),
        "recall": (np.array([1.0, 0, 0, 0]), np.array([1.0, 0, 1, 0])),
        "f1": (np.array([2.0, 0, 0, 0]), np.array([2.0, 1, 1, 0])),
        "false_alarm": (np.array([0.0, 1, 0, 0]), np.array([0.0, 1, 0, 1])),
    }
    shares = {name: _estimate_ratio(total, drawn, part, whole) for name, (part, whole) in ratios.items()}
    return StepScores(hit + alarm + miss + calm, hit + miss, hit + alarm, **shares)


def _count_outcomes(flags: BoolArray, labels: StepLabels) -> tuple[int, int, int, int]:
    """Return the numbers of true positives, false positives, false negatives and true negatives."""
    if flags.shape != (labels.steps,):
        raise ValueError(f"flags of shape {flags.shape} for a solution of {labels.steps} steps; give one flag a step")
    flagged = {int(step) for step in np.flatnonzero(flags)} & labels.labelled
    hit, alarm = len(flagged & labels.wrong), len(flagged - labels.wrong)
    miss = len(labels.wrong) - hit
    return hit, alarm, miss, len(labels.labelled) - hit - alarm - miss


def sum_by_group(counts: FloatArray, groups: Sequence[str]) -> FloatArray:
    """Return the counts summed over each group, shape (groups, columns)."""
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    summed = np.zeros((len(places), counts.shape[1]))
    np.add.at(summed, [places[group] for group in groups], counts)
    return summed


def resample(grouped: FloatArray) -> FloatArray:
    """Return the column sums of bootstrap draws of whole rows, shape (DRAWS, columns); deterministic."""
    return np.asarray(draw_times(len(grouped)) @ grouped, dtype=np.float64)


@lru_cache(maxsize=1)
def draw_times(rows: int) -> FloatArray:
    """Return how often each draw contains each of `rows` rows, shape (DRAWS, rows).

    The result is cached, because several voting rules are measured on the same rows. With fewer than two rows there are
    no draws, because nothing varies.
    """
    if rows < 2:
        return np.zeros((0, rows))
    return np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=DRAWS).astype(np.float64)


def _estimate_ratio(total: FloatArray, drawn: FloatArray, part: FloatArray, whole: FloatArray) -> ShareEstimate:
    if not total @ whole:
        return ShareEstimate(None)
    below = drawn @ whole
    shares = (drawn @ part)[below > 0] / below[below > 0]
    return ShareEstimate(float(total @ part / (total @ whole)), *compute_interval(shares))


def compute_interval(values: FloatArray) -> tuple[float | None, float | None]:
    """Return the bounds of the middle 95 % of bootstrap draws; None without draws."""
    if not values.size:
        return None, None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def compute_alpha(counts: npt.NDArray[np.int64]) -> float | None:
    """Return Krippendorff's alpha = 1 - D_observed / D_expected for nominal ratings.

    With n_uv the number of ratings of unit u with value v, m_u the number of ratings of unit u, and n_v the number of
    ratings with value v, over the units with m_u ≥ 2 (n ratings in total),

        alpha = 1 - (n - 1) · Σ_u [m_u² - Σ_v n_uv²] / (m_u - 1) / [n² - Σ_v n_v²].

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C.

    Args:
        counts: Number of raters that gave each unit each value, shape (units, values); a rater without a rating does
            not count.

    Returns:
        1 for full agreement, 0 for agreement by chance, below 0 for less. None if nothing can be compared: no unit has
        two ratings, or all ratings have the same value.
    """
    alphas = _compute_alphas(_compute_terms(counts).sum(axis=0)[None])
    return float(alphas[0]) if alphas.size else None


def estimate_alpha(counts: npt.NDArray[np.int64], groups: Sequence[str]) -> ShareEstimate:
    """Return `compute_alpha` with its 95 % interval, from a bootstrap over whole groups.

    Args:
        counts: As for `compute_alpha`, shape (units, values).
        groups: Group of each unit, usually the problem: units of a group are correlated.
    """
    terms = sum_by_group(_compute_terms(counts), groups)
    return ShareEstimate(compute_alpha(counts), *compute_interval(_compute_alphas(resample(terms))))


def _compute_terms(counts: npt.NDArray[np.int64]) -> FloatArray:
    """Return each unit's inner sum and its ratings by value, shape (units, 1 + values); 0 for units with one rating."""
    kept = np.where(counts.sum(axis=1, keepdims=True) >= 2, counts, 0).astype(np.float64)
    raters = kept.sum(axis=1)
    unlike = (raters**2 - (kept**2).sum(axis=1)) / np.maximum(raters - 1, 1)
    return np.column_stack([unlike, kept])


def _compute_alphas(sums: FloatArray) -> FloatArray:
    """Return alpha of each row of summed terms, without the rows where it is undefined."""
    ratings = sums[:, 1:].sum(axis=1)
    expected = ratings**2 - (sums[:, 1:] ** 2).sum(axis=1)
    defined = expected > 0
    return np.asarray(1 - (ratings[defined] - 1) * sums[defined, 0] / expected[defined], dtype=np.float64)


def estimate_area(doubts: FloatArray, wrong: BoolArray, groups: Sequence[str]) -> ShareEstimate:
    """Return the probability that a wrong step has a larger doubt than a right one; equal doubts count half.

    This is the area under the ROC curve: Mann and Whitney's U divided by the number of pairs. Its 95 % interval is a
    bootstrap over whole groups; draws without a wrong or without a right step are left out.

    Args:
        doubts: Doubt about each step; larger means less likely to be right, shape (steps,).
        wrong: Whether the step is wrong, same shape.
        groups: Group of each step, usually the problem: steps of a group are correlated.

    Returns:
        The share; without a value if there is no wrong or no right step.
    """
    places = np.unique(doubts, return_inverse=True)[1]
    names, rows = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    draws = [_compute_area(places, wrong, times[rows]) for times in draw_times(len(names))]
    value = _compute_area(places, wrong, np.ones(len(places)))
    areas = np.array([draw for draw in draws if draw is not None], dtype=np.float64)
    return ShareEstimate(None) if value is None else ShareEstimate(value, *compute_interval(areas))


def _compute_area(
    places: np.ndarray[tuple[int], np.dtype[np.intp]], wrong: BoolArray, weights: FloatArray
) -> float | None:
    """Return the area for steps, given the rank of each step's doubt, whether it is wrong, and its weight."""
    most = int(places.max(initial=-1)) + 1
    bad, good = (np.bincount(places, weights * kind, most) for kind in (wrong, ~wrong))
    pairs = bad.sum() * good.sum()
    return float(bad @ (np.cumsum(good) - good / 2) / pairs) if pairs else None


MOST_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Steps with similar shares of votes.

    Attributes:
        steps: Number of steps.
        share: Their mean share of votes.
        wrong: Share of them that are wrong.
    """

    steps: int
    share: float
    wrong: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of the shares of votes.

    Attributes:
        steps: Number of labelled steps with a share.
        bins: Reliability table, from low to high shares; bins without a step are left out.
        error: Expected calibration error, Σ (steps of a bin / steps) · abs(share - wrong); None without a step.
        brier: Mean squared difference of share and label (1 = wrong); None without a step.
    """

    steps: int
    bins: tuple[Bin, ...]
    error: float | None
    brier: float | None


def measure_calibration(shares: FloatArray, wrong: npt.NDArray[np.bool_], votes: int) -> Calibration:
    """Compare shares of votes with labels.

    Up to ten votes, there is one bin for every possible share; shares with abstentions go to the nearest bin. With more
    votes, shares are rounded to tenths.

    Args:
        shares: Share of the critiques that flag each labelled step, shape (steps,).
        wrong: Whether the step is wrong, same shape.
        votes: Number of critiques of a share without abstentions.
    """
    if not shares.size:
        return Calibration(0, (), None, None)
    places = np.rint(shares * min(votes, MOST_BINS)).astype(np.int64)
    bins = tuple(
        Bin(int(own.sum()), float(shares[own].mean()), float(wrong[own].mean()))
        for own in (places == place for place in np.unique(places))
    )
    error = sum(part.steps * abs(part.share - part.wrong) for part in bins) / shares.size
    return Calibration(shares.size, bins, float(error), float(((shares - wrong) ** 2).mean()))
