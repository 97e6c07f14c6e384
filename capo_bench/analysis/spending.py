"""A test that is looked at several times: how much of its error rate each look may spend, and what that makes of p.

A study that stops as soon as something looks significant is wrong more often than it says. So every look spends a part
of the error rate α, by a function of the share t of all planned seeds that was fixed before: α·t² (Kim and DeMets,
1987; why this one: docs/statistics.md). The bound of a look is where, without a difference, the chance to pass it and
none before is what the look may spend. Without a difference the means at the looks are a random walk with independent
steps (Armitage, McPherson and Rowe, 1969), over which is integrated here. Bounds are turned into levels, and each look
compares its p value, of whatever t, with its level (Jennison and Turnbull, 2000, section 3.8).

The smallest α at which a test has passed a bound by now is its sequential p value (Liu and Anderson, 2008). It is a
valid p value whenever the test is stopped, so Holm's rule over several of them holds as it does for others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Spending = Callable[[Array, float], Array]
"""From error rates and a share of all seeds to the part of each rate that may be spent by then."""

_NODES = 96
"""Points of a Gauss-Legendre rule between the bounds of a look."""

_WIDEST = 8.5
"""Beyond so many standard deviations nothing is left to integrate."""

_ALPHAS = np.concatenate([np.geomspace(1e-9, 0.2, 160), np.linspace(0.21, 0.999, 40)])
"""The error rates that levels are tabulated for."""


def spend_squared(alpha: Array, share: float) -> Array:
    """Return α·t² (Kim and DeMets, 1987)."""
    return alpha * share**2


def compute_level_of_look(looks: Sequence[int], taken: int, alpha: float) -> float:
    """Return the two-sided level that a look, from 1 on, compares its p value with; `alpha` is that of all together."""
    table = _compute_levels(tuple(looks))[taken - 1]
    return float(np.exp(np.interp(np.log(alpha), np.log(_ALPHAS), np.log(table))))


def compute_sequential_p(p_values: Sequence[float], looks: Sequence[int], spend: Spending = spend_squared) -> float:
    """Return the smallest error rate at which a test has passed a bound at one of its looks; NaN before the first."""
    tables = _compute_levels(tuple(looks), spend)
    passed = [
        np.exp(np.interp(np.log(max(p, 1e-300)), np.log(table), np.log(_ALPHAS), right=0.0))
        for p, table in zip(p_values, tables, strict=False)
    ]
    return float(min(passed, default=np.nan))


@cache
def _compute_levels(looks: tuple[int, ...], spend: Spending = spend_squared) -> list[Array]:
    """Return the level of each look for each of `_ALPHAS`, shape (G,)."""
    from scipy.special import ndtr

    # What is left between the bounds: points (G, N) and their probabilities. Before the first look it is all at 0.
    points, mass = np.zeros((len(_ALPHAS), 1)), np.ones((len(_ALPHAS), 1))
    before, levels = 0.0, list[Array]()
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    for share in (count / looks[-1] for count in looks):
        step = np.sqrt(share - before)
        may = spend(_ALPHAS, share) - (spend(_ALPHAS, before) if before else 0.0)
        bound = _bound(points, mass, np.sqrt(share), step, may)
        levels.append(np.maximum.accumulate(np.maximum(2 * ndtr(-bound), 1e-300)))
        half = np.minimum(bound, _WIDEST)[:, None] * np.sqrt(share)
        new = half * nodes
        density = np.exp(-0.5 * ((new[:, :, None] - points[:, None, :]) / step) ** 2) / (step * np.sqrt(2 * np.pi))
        points, mass, before = new, half * weights * (density @ mass[:, :, None])[:, :, 0], share
    return levels


def _bound(points: Array, mass: Array, scale: float, step: float, may: Array) -> Array:
    """Return the standardized bound, shape (G,), that is passed with the chance `may` after a step from `points`."""
    from scipy.special import ndtr

    low, high = np.zeros(len(may)), np.full(len(may), 38.0)
    for _ in range(60):
        middle = (low + high) / 2
        edge = (middle * scale)[:, None]
        passes = ((ndtr((-edge - points) / step) + ndtr((points - edge) / step)) * mass).sum(axis=1)
        low, high = np.where(passes > may, middle, low), np.where(passes > may, high, middle)
    return high
