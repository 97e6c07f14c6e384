"""Numbers over training runs that have no formula of their own: a bootstrap, and how often a variant comes out ahead.

The bootstrap is crossed: seeds are drawn anew, problems are drawn anew, and a cell counts as often as its seed was
drawn times its problem. With the draws of seeds as weights w_s, shape (R, S), and of problems as w_p, shape (R, P), the
mean of resample r is w_s[r]ᵀ Y w_p[r], so all R means are one matrix product. The draws depend on the seeds and
problems alone: all variants of a study are resampled alike, and the same results give the same interval.

With few seeds it is too narrow (docs/statistics.md has the measurement), so it stands beside the interval of
`stats.mean_interval` in table.csv and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from capo_bench.report.stats import LEVEL, Matrix, Pair, mean

RESAMPLES = 1000
"""R: at 95 % the ends of an interval are then the 25th means from either side."""

Weights = tuple[Matrix, Matrix]
"""How often each resample drew each seed, shape (R, S), and each problem, shape (R, P)."""


@dataclass(frozen=True)
class Share:
    """A share of 1 with its interval; `seeds` is the number of runs on either side."""

    value: float
    low: float
    high: float
    seeds: int


def bootstrap(pairs: Mapping[str, Pair]) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of each mean difference; of fewer than two seeds or problems there is none.

    Pairs of the same seeds and problems are resampled alike, and multiplied out together: many small products keep
    the processor waiting for its threads.
    """
    alike: dict[tuple[tuple[int, ...], tuple[str, ...]], list[str]] = {}
    for name, pair in pairs.items():
        if min(pair.difference.shape) >= 2:
            alike.setdefault((pair.seeds, pair.problems), []).append(name)
    found: dict[str, tuple[float, float]] = {}
    for sides, names in alike.items():
        means = resampled_means(np.stack([pairs[name].difference for name in names]), weights(*sides))
        found |= {name: _ends(row) for name, row in zip(names, means, strict=True)}
    return {name: found[name] for name in pairs if name in found}


def _ends(means: Matrix) -> tuple[float, float]:
    low, high = np.quantile(means[~np.isnan(means)], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)


def resampled_means(values: NDArray[np.float64], drawn: Weights) -> Matrix:
    """Return the mean of each resample, shape (V, R), over the cells that are not NaN; NaN where it drew no other.

    Args:
        values: Shape (V, S, P).
        drawn: How often each resample drew each seed, shape (R, S), and each problem, shape (R, P).
    """
    known = ~np.isnan(values)
    sums = _drawn_sums(np.where(known, values, 0.0), drawn)
    if known.all():
        return np.asarray(sums / values[0].size)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / _drawn_sums(known.astype(float), drawn))


def _drawn_sums(values: NDArray[np.float64], drawn: Weights) -> Matrix:
    by_seed, by_problem = drawn
    by_draw = (values.reshape(-1, values.shape[2]) @ by_problem.T).reshape(*values.shape[:2], len(by_problem))
    return np.asarray((by_draw * by_seed.T).sum(axis=1))


def weights(seeds: tuple[int, ...], problems: tuple[str, ...], resamples: int = RESAMPLES) -> Weights:
    """Draw resamples of seeds and of problems, the same ones for the same names."""
    by_seed, by_problem = drawn((seeds, problems), resamples)
    return by_seed, by_problem


@lru_cache(maxsize=8)
def drawn(sides: tuple[tuple[object, ...], ...], resamples: int = RESAMPLES) -> tuple[Matrix, ...]:
    """Draw resamples of several sides, each for itself; the same ones for the same names.

    Returns:
        How often each resample drew each name of a side, shape (R, its names).
    """
    content = sha256(repr((*sides, resamples)).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(content[:16], "big"))
    sizes = map(len, sides)
    return tuple(rng.multinomial(n, [1 / n] * n, size=resamples).astype(np.float64) for n in sizes)


def improvement(pair: Pair, *, lower: bool = False) -> Share | None:
    """Return the chance that a new training of the variant comes out better than one of the baseline.

    On these problems it is P(X > Y) + P(X = Y)/2 over all pairs of one run of either side, X and Y being their means
    over the problems: Mann and Whitney's U over S·S, the probability of improvement of rliable. The interval is
    Newcombe's fifth (2006),

        (θ̂ − θ)² = z²·θ(1 − θ)·[1 + (S − 1)·((1 − θ)/(2 − θ) + θ/(1 + θ))] / S²,

    solved for both θ. Unlike a bootstrap it is not a point where all runs of one side are ahead.

    Args:
        pair: Scores of both.
        lower: Whether lower scores are better.

    Returns:
        None with fewer than two seeds.
    """
    seeds = len(pair.seeds)
    if seeds < 2 or not pair.problems or np.isnan(pair.ours).all(axis=1).any():
        return None
    ours, theirs = mean(pair.ours, 1), mean(pair.theirs, 1)
    ahead = np.sign(np.round(ours[:, None] - theirs[None, :], 12)) * (-1 if lower else 1)
    value = float((1 + ahead.mean()) / 2)
    return Share(value, *newcombe(value, seeds), seeds)


@lru_cache(maxsize=1024)
def newcombe(value: float, seeds: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability of improvement between two sides of `seeds` runs each."""
    from scipy.special import ndtri

    z = float(ndtri(0.5 + LEVEL / 2))

    def inside(theta: float) -> bool:
        shared = (1 - theta) / (2 - theta) + theta / (1 + theta)
        return (value - theta) ** 2 <= z**2 * theta * (1 - theta) * (1 + (seeds - 1) * shared) / seeds**2

    return _edge(inside, value, 0.0), _edge(inside, value, 1.0)


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Return where, between a point inside and the end of the scale, one is no longer inside."""
    if inside(end):
        return end
    for _ in range(50):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start
