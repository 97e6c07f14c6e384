"""Compute ProcessBench's score: is the first flagged step the first wrong one, and does a right solution have no flag?

Zheng et al., "ProcessBench: Identifying Process Errors in Mathematical Reasoning" (arXiv 2412.06559), section 3.4. As
published, a solution without a verdict counts as a miss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.critics.labels import StepLabels
from evals.critics.metrics import DRAWS, BoolArray, FloatArray, ShareEstimate, compute_interval

Outcome = tuple[bool, bool]
"""Whether a solution has an error, and whether the flags identified it."""


@dataclass(frozen=True)
class FirstErrorScores:
    """Scores of one subset, or the mean over subsets.

    Attributes:
        unanswered: Number of solutions without a verdict, erroneous or clean.
        on_erroneous: Share of the erroneous solutions whose first flagged step is the labelled one.
        on_clean: Share of the clean solutions without a flag.
        f1: Harmonic mean of the two shares; 0 if either is 0.
    """

    erroneous: int
    clean: int
    unanswered: int
    on_erroneous: ShareEstimate
    on_clean: ShareEstimate
    f1: ShareEstimate


def is_identified(flags: BoolArray | None, labels: StepLabels) -> bool:
    """Return whether the first flag is the first wrong step, or there is no flag and no error; False if unjudged."""
    if flags is None:
        return False
    flagged = np.flatnonzero(flags)
    return bool(flagged.size and flagged[0] == min(labels.wrong)) if labels.wrong else not flagged.size


def score_first_error(
    flags: Mapping[str, Sequence[BoolArray | None]], labels: Mapping[str, Sequence[StepLabels]]
) -> dict[str, FirstErrorScores]:
    """Score every subset and, under ``"mean"``, their mean; as published, each subset has the same weight.

    Args:
        flags: The flags of each solution of each subset, shape (steps,); None without a verdict.
        labels: The labels of the same solutions.
    """
    scores, draws = dict[str, FirstErrorScores](), dict[str, FloatArray]()
    for name, rows in flags.items():
        pairs = list(zip(rows, labels[name], strict=True))
        outcomes = [(bool(label.wrong), is_identified(flag, label)) for flag, label in pairs]
        draws[name] = _draw_shares(outcomes)
        scores[name] = _compute_scores(outcomes, sum(flag is None for flag in rows), draws[name])
    if len(scores) > 1:
        scores["mean"] = _average_scores(list(scores.values()), np.stack(list(draws.values())))
    return scores


def _compute_scores(outcomes: Sequence[Outcome], unanswered: int, drawn: FloatArray) -> FirstErrorScores:
    wrong, clean = ([hit for has, hit in outcomes if has is kind] for kind in (True, False))
    shares = np.array([np.mean(part) if part else np.nan for part in (wrong, clean)])
    values = [*shares, *_compute_harmonic(shares[None])]
    estimates = [_make_estimate(value, column) for value, column in zip(values, drawn.T, strict=True)]
    return FirstErrorScores(len(wrong), len(clean), unanswered, *estimates)


def _draw_shares(outcomes: Sequence[Outcome]) -> FloatArray:
    """Return bootstrap draws of the two shares and their harmonic mean, shape (DRAWS, 3).

    Erroneous and clean solutions are drawn separately, each with their own number, because their shares are
    independent.
    """
    rng = np.random.default_rng(0)
    columns = []
    for kind in (True, False):
        part = [hit for has, hit in outcomes if has is kind]
        share = np.mean(part) if part else np.nan
        columns.append(rng.binomial(len(part), share, DRAWS) / len(part) if len(part) > 1 else np.full(DRAWS, np.nan))
    shares = np.stack(columns, axis=1)
    return np.concatenate([shares, _compute_harmonic(shares)[:, None]], axis=1)


def _compute_harmonic(shares: FloatArray) -> FloatArray:
    both = shares.sum(axis=1)
    return np.asarray(2 * shares.prod(axis=1) / np.where(both == 0, 1, both), dtype=np.float64)


def _average_scores(scores: Sequence[FirstErrorScores], drawn: FloatArray) -> FirstErrorScores:
    """Return the mean over subsets of each of the three numbers."""
    rows = [[row.on_erroneous.value, row.on_clean.value, row.f1.value] for row in scores]
    values = np.array(rows, dtype=np.float64).mean(axis=0)
    columns = drawn.mean(axis=0).T
    estimates = [_make_estimate(value, column) for value, column in zip(values, columns, strict=True)]
    counts = [sum(getattr(row, name) for row in scores) for name in ("erroneous", "clean", "unanswered")]
    return FirstErrorScores(*counts, *estimates)


def _make_estimate(value: float, drawn: FloatArray) -> ShareEstimate:
    return (
        ShareEstimate(None)
        if np.isnan(value)
        else ShareEstimate(float(value), *compute_interval(drawn[~np.isnan(drawn)]))
    )
