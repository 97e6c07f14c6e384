"""How well flags agree with labels, step by step, with intervals that know that steps of a solution go together.

Pure functions on arrays. A quantity that nothing defines (a precision where nothing is flagged) is None, never 0.
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
"""Bootstrap draws behind an interval."""

LEVEL = 0.95
"""Level of every interval."""


@dataclass(frozen=True)
class ShareEstimate:
    """A share with its interval, from 0 to 1.

    Attributes:
        value: None where nothing defines it.
        low: Lower end of the 95 % interval; None where there is no value, or one group alone.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class StepScores:
    """How flags agree with labels over the labelled steps of some solutions.

    Attributes:
        steps: Labelled steps.
        wrong: Those labelled wrong.
        flagged: Those flagged.
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


def step_scores(flags: Sequence[BoolArray], labels: Sequence[StepLabels]) -> StepScores:
    """Score flags of whole solutions.

    Args:
        flags: What is flagged of each solution, shape (steps,).
        labels: The labels of the same solutions.

    Raises:
        ValueError: Flags and labels are not of the same solutions.
    """
    counts = np.array([_counts(*pair) for pair in zip(flags, labels, strict=True)], dtype=np.float64).reshape(-1, 4)
    return scores_of(by_group(counts, [label.group or f"#{row}" for row, label in enumerate(labels)]))


def scores_of(grouped: FloatArray) -> StepScores:
    """Score counts of steps that are already summed over what shares chance.

    Args:
        grouped: True positives, false positives, false negatives and true negatives of each group, shape (groups, 4).
    """
    total, drawn = grouped.sum(axis=0), resampled(grouped)
    hit, alarm, miss, calm = (int(count) for count in total)
    ratios: Mapping[str, tuple[FloatArray, FloatArray]] = {
        "precision": (np.array([1.0, 0, 0, 0]), np.array([1.0, 1, 0, 0])),
        "recall": (np.array([1.0, 0, 0, 0]), np.array([1.0, 0, 1, 0])),
        "f1": (np.array([2.0, 0, 0, 0]), np.array([2.0, 1, 1, 0])),
        "false_alarm": (np.array([0.0, 1, 0, 0]), np.array([0.0, 1, 0, 1])),
    }
    shares = {name: _ratio(total, drawn, part, whole) for name, (part, whole) in ratios.items()}
    return StepScores(hit + alarm + miss + calm, hit + miss, hit + alarm, **shares)


def _counts(flags: BoolArray, labels: StepLabels) -> tuple[int, int, int, int]:
    """Return true and false positives, false and true negatives."""
    if flags.shape != (labels.steps,):
        raise ValueError(f"flags of shape {flags.shape} for a solution of {labels.steps} steps; give one flag a step")
    flagged = {int(step) for step in np.flatnonzero(flags)} & labels.labelled
    hit, alarm = len(flagged & labels.wrong), len(flagged - labels.wrong)
    miss = len(labels.wrong) - hit
    return hit, alarm, miss, len(labels.labelled) - hit - alarm - miss


def by_group(counts: FloatArray, groups: Sequence[str]) -> FloatArray:
    """Return the counts summed over each group, shape (groups, columns)."""
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    summed = np.zeros((len(places), counts.shape[1]))
    np.add.at(summed, [places[group] for group in groups], counts)
    return summed


def resampled(grouped: FloatArray) -> FloatArray:
    """Return the column sums of bootstrap draws of whole rows, shape (DRAWS, columns); the same for the same rows."""
    return np.asarray(times_drawn(len(grouped)) @ grouped, dtype=np.float64)


@lru_cache(maxsize=1)
def times_drawn(rows: int) -> FloatArray:
    """Return how often each draw takes each of `rows` rows, shape (DRAWS, rows); kept, as rules share their rows.

    Of fewer than two rows there is no draw: nothing varies.
    """
    if rows < 2:
        return np.zeros((0, rows))
    return np.random.default_rng(0).multinomial(rows, np.full(rows, 1 / rows), size=DRAWS).astype(np.float64)


def _ratio(total: FloatArray, drawn: FloatArray, part: FloatArray, whole: FloatArray) -> ShareEstimate:
    if not total @ whole:
        return ShareEstimate(None)
    below = drawn @ whole
    shares = (drawn @ part)[below > 0] / below[below > 0]
    return ShareEstimate(float(total @ part / (total @ whole)), *interval(shares))


def interval(values: FloatArray) -> tuple[float | None, float | None]:
    """Return the bounds of the middle 95 % of bootstrap draws; None without a draw."""
    if not values.size:
        return None, None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
