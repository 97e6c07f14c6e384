"""Statistics over seeds × problems: pure functions on a matrix.

Seeds and problems are both samples: another seed trains another policy, another draw of problems asks other
questions. An interval over problems alone (the usual one) leaves out the first and is far too narrow for a claim about
a method; one over seeds alone leaves out the second. Here both are crossed random effects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
"""Scores, shape (S, P): one row a seed, one column a problem; NaN where a sample could not be scored."""

Scores = Mapping[int, Mapping[str, float]]
"""Seed to problem to score."""

LEVEL = 0.95
"""Level of every interval in a report."""

NOISE = 0.05
"""A Holm-adjusted p value from here on is called noise."""

MOST_FREEDOM = 1.5
"""Degrees of freedom are at most this many times those of the smaller side. Seeds that agree by chance would be trusted
like as many problems (measured: docs/statistics.md)."""


@dataclass(frozen=True)
class MeanEstimate:
    """A mean with its uncertainty.

    Attributes:
        mean: Mean over the observed cells; NaN when there is none.
        low: Lower end of the interval; NaN when one number is all there is.
        freedom: Degrees of freedom of the interval and of the p value.
        p: Two-sided p value of "the true mean is 0"; meant for differences.
        seeds: S, rows with an observed cell.
        problems: P, columns with an observed cell.
    """

    mean: float
    low: float
    high: float
    error: float
    freedom: float
    p: float
    seeds: int
    problems: int

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval; a number without one is not shown."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def one_seed(self) -> bool:
        """Whether the interval says nothing about seeds."""
        return self.seeds == 1


@dataclass(frozen=True)
class ScoreLayout:
    """Scores of a variant on all its seeds and problems, both sorted; shape (S, P), NaN where there is none."""

    seeds: tuple[int, ...]
    problems: tuple[str, ...]
    values: Matrix


def lay_out(scores: Scores) -> ScoreLayout:
    """Lay out the scores of one variant."""
    seeds = sorted(scores)
    first = scores[seeds[0]] if seeds else {}
    same = all(own.keys() == first.keys() for own in scores.values())  # as a rule, and much quicker to see
    problems = sorted(first if same else set[str]().union(*scores.values()))
    rows = [list(map(scores[seed].get, problems, repeat(math.nan))) for seed in seeds]
    values = np.array(rows, dtype=np.float64).reshape(len(seeds), len(problems))
    return ScoreLayout(tuple(seeds), tuple(problems), values)


def subtract_paired(ours: ScoreLayout, theirs: ScoreLayout) -> Matrix:
    """Return ours − theirs cell by cell, before any averaging: what seed and problem share cancels.

    Returns:
        Shape (S, P) of the seeds that both have, sorted, and of the problems that both have in any of those seeds; NaN
        where either of the two is not scored.
    """
    seeds = sorted(set(ours.seeds) & set(theirs.seeds))
    problems = sorted(set(ours.problems) & set(theirs.problems))
    difference = _select_cells(ours, seeds, problems) - _select_cells(theirs, seeds, problems)
    return np.asarray(difference[:, ~np.isnan(difference).all(axis=0)])


def _select_cells(laid: ScoreLayout, seeds: Sequence[int], problems: Sequence[str]) -> Matrix:
    """Return the values of these seeds and problems, which it has."""
    if len(seeds) == len(laid.seeds) and len(problems) == len(laid.problems):
        return laid.values
    rows, columns = map(laid.seeds.index, seeds), map(laid.problems.index, problems)
    return np.asarray(laid.values[np.ix_([*rows], [*columns])])


def estimate_mean(values: Matrix, level: float = LEVEL, most_freedom: float = MOST_FREEDOM) -> MeanEstimate:
    r"""Estimate the mean of a crossed two-way layout.

    With y_sp = μ + a_s + b_p + e_sp (seed, problem, the rest), s² the sample variance and MS_rest the residual mean
    square,

        Var(ȳ) = s²(seed means)/S + s²(problem means)/P − MS_rest/(S·P),

    which is unbiased for σ²_a/S + σ²_b/P + σ²_e/(S·P); never less than any of its three terms, each of which estimates
    a part of it: seeds that agree and problems that agree may hide cells that do not. The degrees of freedom
    are Satterthwaite's,

        ν = Var(ȳ)² / [A²/(S−1) + B²/(P−1) + C²/((S−1)(P−1))],

    with A, B, C the three terms, but not fewer than m = min(S−1, P−1) and not more than 1.5·m, and the interval is
    ȳ ± t(ν)·√Var(ȳ). With one seed only B is left, so the interval holds for that seed alone; with one problem (or a
    metric without problems) only A is left.

    NaN cells are left out; with some missing, means are over the observed cells, and the residual degrees of freedom
    count those, an approximation that is exact without gaps. If no cell differs from another, the spread is that of the
    same layout with one cell one off (one more answer right, one more token), which is as little as it could show.

    Args:
        values: Shape (S, P).
        level: Level of the interval.
        most_freedom: See `MOST_FREEDOM`.
    """
    values = select_observed(values)
    seeds, problems = values.shape
    if not values.size:
        return MeanEstimate(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, 0, 0)
    middle = float(compute_known_mean(values))
    if values.size == 1:
        return MeanEstimate(middle, math.nan, math.nan, math.nan, math.nan, math.nan, 1, 1)
    variance, freedom = estimate_terms(values).combined(most_freedom)
    if variance <= 1e-24:
        variance, freedom = estimate_one_off(seeds, problems).combined(most_freedom)
    error = math.sqrt(variance)
    half, p = _compute_t_interval(middle / error, freedom, level)
    return MeanEstimate(middle, middle - half * error, middle + half * error, error, freedom, p, seeds, problems)


def _compute_t_interval(ratio: float, freedom: float, level: float) -> tuple[float, float]:
    # As `scipy.stats.t` does, without its second of imports and its checks of arguments.
    from scipy.special import stdtr, stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2)), float(2 * stdtr(freedom, -abs(ratio)))


def compute_known_mean(values: Matrix, axis: int | None = None) -> Matrix:
    """Return the mean of what is known; NaN where nothing is, which no row and no column may be."""
    there = ~np.isnan(values)
    # `nanmean` takes several times as long, and gaps are rare.
    return np.asarray(values.mean(axis) if there.all() else np.nanmean(values, axis))


def select_observed(values: Matrix) -> Matrix:
    """Leave out the seeds and problems of which nothing is known."""
    seen = ~np.isnan(values)
    return values[seen.any(axis=1)][:, seen.any(axis=0)]


@dataclass(frozen=True)
class VarianceTerms:
    """The three terms of Var(ȳ) = A + B − C with their degrees of freedom; 0 for one that the layout does not have.

    Attributes:
        seed: A, s²(seed means)/S.
        problem: B, s²(problem means)/P.
        rest: C, MS_rest/(S·P).
        freedoms: Of A, B and C.
    """

    seed: float
    problem: float
    rest: float
    freedoms: tuple[float, float, float]

    def combined(self, most_freedom: float = MOST_FREEDOM) -> tuple[float, float]:
        """Return Var(ȳ) and its degrees of freedom, as `estimate_mean` defines them; NaN degrees of a variance of 0."""
        variance = max(self.seed + self.problem - self.rest, self.seed, self.problem, self.rest)
        parts = zip((self.seed, self.problem, self.rest), self.freedoms, strict=True)
        spread = sum(term**2 / freedom for term, freedom in parts if freedom > 0)
        if spread == 0:
            return variance, math.nan
        fewest = min(freedom for freedom in self.freedoms[:2] if freedom > 0)
        return variance, min(max(variance**2 / spread, fewest), most_freedom * fewest)


def estimate_terms(values: Matrix) -> VarianceTerms:
    """Return the terms of the variance of the mean of `values`, shape (S, P) with two cells or more, none empty."""
    seeds, problems = values.shape
    by_seed, by_problem, cells = (
        compute_known_mean(values, 1),
        compute_known_mean(values, 0),
        float(np.isfinite(values).sum()),
    )
    a = float(np.var(by_seed, ddof=1)) / seeds if seeds > 1 else 0.0
    b = float(np.var(by_problem, ddof=1)) / problems if problems > 1 else 0.0
    c, rest = 0.0, cells - seeds - problems + 1
    if seeds > 1 and problems > 1 and rest > 0:
        residual = values - by_seed[:, None] - by_problem[None, :] + compute_known_mean(values)
        c = float(np.nansum(residual**2)) / rest / cells
    return VarianceTerms(a, b, c, (seeds - 1, problems - 1, max(rest, 0.0)))


def estimate_one_off(seeds: int, problems: int) -> VarianceTerms:
    """Return the terms of a layout of S × P cells of which one differs from the others by 1: each is 1/(S·P)²."""
    a, b = seeds > 1, problems > 1
    each = 1 / (seeds * problems) ** 2
    return VarianceTerms(a * each, b * each, a * b * each, (seeds - 1, problems - 1, (seeds - 1) * (problems - 1)))


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for many comparisons (Holm, 1979); NaN stays NaN and counts for none.

    The i-th smallest of m becomes the largest so far of (m − i + 1)·p, at most 1.
    """
    adjusted = [math.nan] * len(p_values)
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted
