r"""What a study could have seen: the smallest difference it tells from noise, and what it would take to see another.

The variances behind a paired difference, of seeds, of problems and of the rest (their interaction and the draw of
answers), are estimated from its matrix by the method of moments,

    σ²_e = MS_rest,  σ²_a = s²(seed means) − σ²_e/P,  σ²_b = s²(problem means) − σ²_e/S,  none below 0.

For S' seeds and P' problems they give the variance that the interval would have, with its degrees of freedom ν, by the
formula of `stats.mean_interval`. A difference δ is told from 0 at level α with the chance that a noncentral t of ν
degrees of freedom and noncentrality δ/√Var exceeds the critical t. Under Holm's rule α is 0.05 over the number of
variants compared: what passes that is beyond noise whatever the other variants show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from capo_bench.analysis.stats import Matrix, VarianceTerms, compute_known_mean, estimate_terms, select_observed

POWER = 0.8
"""Chance of telling a true difference from noise that is asked for."""

TARGET = 0.1
"""A difference of shares that a study should be able to see: ten points."""

_FURTHEST = 40
"""A search for a number of seeds or problems ends before 2 to this power."""


@dataclass(frozen=True)
class Components:
    """Variances of one cell's parts, and the layout that they were estimated on.

    Attributes:
        seed: σ²_a, of one seed to the next.
        problem: σ²_b, of one problem to the next; 0 for a metric without problems.
        rest: σ²_e, of the cell beside both; with one problem it is part of `seed`.
        seeds: S.
        problems: P.
    """

    seed: float
    problem: float
    rest: float
    seeds: int
    problems: int


@dataclass(frozen=True)
class Power:
    """What a comparison could see, and what the difference that it observed would take.

    Attributes:
        detectable: Smallest true difference that would be beyond noise with a chance of 80 %; at least 0.
        seeds: Seeds for which the observed difference would be that one, on these problems; infinite where no number
            would do because the problems are too few.
        problems: Likewise problems, with these seeds; infinite where no number would do because the seeds are too few.
        target_seeds: Seeds for which `TARGET` would be detectable, on these problems.
        target_problems: Likewise problems, with these seeds.
    """

    detectable: float
    seeds: float
    problems: float
    target_seeds: float = math.inf
    target_problems: float = math.inf


def power(values: Matrix, level: float) -> Power | None:
    """Return the power of a comparison; None with one seed, where the noise of seeds is unknown, or without any noise.

    Args:
        values: Paired differences, shape (S, P).
        level: α, the two-sided level at which a difference is called beyond noise.
    """
    parts = estimate_components(values)
    if parts is None or parts.seed + parts.problem + parts.rest <= 1e-24:
        return None
    effect = abs(float(compute_known_mean(values)))
    return Power(
        detectable=compute_detectable(parts, level),
        seeds=count_seeds_needed(parts, effect, level),
        problems=count_problems_needed(parts, effect, level),
        target_seeds=count_seeds_needed(parts, TARGET, level),
        target_problems=count_problems_needed(parts, TARGET, level),
    )


def estimate_components(values: Matrix) -> Components | None:
    """Estimate the variances behind a matrix of shape (S, P); None with fewer than two seeds."""
    values = select_observed(values)
    seeds, problems = values.shape
    if seeds < 2:
        return None
    variances = estimate_terms(values)
    rest = variances.rest * float(np.isfinite(values).sum())
    seed = max(0.0, variances.seed * seeds - rest / problems)
    problem = max(0.0, variances.problem * problems - rest / seeds)
    return Components(seed, problem, rest, seeds, problems)


def compute_detectable(
    parts: Components, level: float, seeds: float | None = None, problems: float | None = None
) -> float:
    """Return the difference that S' seeds × P' problems (those at hand unless given) tell from 0 with 80 % power."""
    from scipy.special import nctdtrinc, stdtrit

    variance, freedom = _compute_expected(parts, seeds or parts.seeds, problems or parts.problems)
    if variance == 0:
        return 0.0
    return float(nctdtrinc(freedom, 1 - POWER, stdtrit(freedom, 1 - level / 2))) * math.sqrt(variance)


def count_seeds_needed(parts: Components, effect: float, level: float) -> float:
    """Return the fewest seeds that tell `effect` from 0 on these problems; infinite where no number does."""
    return _find_fewest(lambda seeds: _can_detect(parts, effect, level, seeds, parts.problems))


def count_problems_needed(parts: Components, effect: float, level: float) -> float:
    """Return the fewest problems that tell `effect` from 0 with these seeds; infinite where no number does."""
    if parts.problems == 1:
        return math.inf
    return _find_fewest(lambda problems: _can_detect(parts, effect, level, parts.seeds, problems))


def _can_detect(parts: Components, effect: float, level: float, seeds: float, problems: float) -> bool:
    """Say whether `effect` is at least what is detectable: much quicker than to work that out."""
    from scipy.special import nctdtr, stdtrit

    variance, freedom = _compute_expected(parts, seeds, problems)
    if variance == 0:
        return effect > 0
    ratio = effect / math.sqrt(variance)
    critical = float(stdtrit(freedom, 1 - level / 2))
    # Far beyond what any level asks for the distribution has no numbers to give.
    return ratio > 1e3 * critical or float(nctdtr(freedom, ratio, critical)) <= 1 - POWER


def _compute_expected(parts: Components, seeds: float, problems: float) -> tuple[float, float]:
    """Return the variance of the mean of S' × P' cells, either of which may be infinite, and its degrees of freedom."""
    a = (parts.seed + parts.rest / problems) / seeds
    b = (parts.problem + parts.rest / seeds) / problems if parts.problems > 1 else 0.0
    c = parts.rest / (seeds * problems)
    variance, freedom = VarianceTerms(a, b, c, (seeds - 1, problems - 1, (seeds - 1) * (problems - 1))).combined()
    return variance, min(freedom, 1e6)  # beyond, a t is a normal


def _find_fewest(enough: Callable[[float], bool]) -> float:
    """Return the smallest number from 2 on that is enough, where more are enough if fewer are.

    Of two or three problems this need not hold: as seeds grow in number, the degrees of freedom fall to those of the
    problems. So the numbers within reach are tried before the unlimited one.
    """
    high = next((count for count in (2, 4, 8, 16, 32, 64) if enough(count)), 0)
    if not high:
        if not enough(math.inf):
            return math.inf
        high = next((2**n for n in range(7, _FURTHEST) if enough(2**n)), 0)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high or math.inf
