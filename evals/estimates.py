"""Estimate the uncertainty of metrics that is due to the choice of a benchmark's problems.

Samples of one problem are correlated, so the unit of sampling is the problem, never the sample. A metric is a ratio R =
Σ part / Σ whole over problems. Its standard error is that of the linearised ratio estimator,

    SE² = n/(n−1) · Σ (part_p − R·whole_p)² / (Σ whole)².

For a mean over problems, this is the standard deviation of their values divided by √n.

Shares have the interval of Korn and Graubard (Survey Methodology 24, 1998): the Clopper–Pearson interval for the number
of independent draws that would have this standard error, reduced because few problems determine it poorly. If the
problems do not differ (all right, all wrong), the number of draws is the number of problems. Lengths have Student's
interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evals.metrics import Count, Sample, compute_ratio, count_by_problem, is_length, list_metric_names

LEVEL = 0.95
"""Confidence level of every interval."""

_TAIL = (1 - LEVEL) / 2
_ROUNDING = 1e-9  # a smaller standard error is due to rounding


@dataclass(frozen=True)
class Estimate:
    """A metric with its uncertainty.

    Attributes:
        value: The metric: a share from 0 to 1, or a length.
        stderr: Its standard error, clustered by problem; None for a single problem.
        low: Lower end of the 95 % interval; None for a length of one problem.
        n: Number of problems for which it is defined: for pass@k, those with at least k scored samples.
    """

    value: float
    stderr: float | None
    low: float | None
    high: float | None
    n: int


def estimate_all(samples: Iterable[Sample]) -> dict[str, Estimate]:
    """Return an estimate of every metric that the samples of a task define; values are those of `summarize`."""
    samples = list(samples)
    measured = {
        name: estimate(list(count_by_problem(samples, name).values()), share=not is_length(name))
        for name in list_metric_names(samples)
    }
    return {name: value for name, value in measured.items() if value is not None}


def estimate(counted: Sequence[Count], *, share: bool) -> Estimate | None:
    """Estimate a metric from the counts of problems; return None if it is defined for no problem.

    Args:
        counted: Part and whole of each problem.
        share: Whether the metric is a share, at most 1; otherwise it is any number from 0 on.
    """
    counted = [count for count in counted if count[1]]
    value = compute_ratio(counted)
    if value is None:
        return None
    n = len(counted)
    stderr = _compute_stderr(counted, value) if n > 1 else None
    low, high = compute_share_interval(value, stderr, n) if share else compute_length_interval(value, stderr, n)
    return Estimate(value, stderr, low, high, n)


def compute_share_interval(value: float, stderr: float | None, n: int) -> tuple[float, float]:
    """Return Korn and Graubard's 95 % interval of a share of n problems."""
    from scipy.special import betaincinv, ndtri, stdtrit

    draws = float(n)
    if stderr is not None and stderr > _ROUNDING and 0 < value < 1:
        draws = value * (1 - value) / stderr**2 * (ndtri(1 - _TAIL) / stdtrit(n - 1, 1 - _TAIL)) ** 2
    hits, misses = value * draws, (1 - value) * draws
    low = float(betaincinv(hits, misses + 1, _TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - _TAIL)) if misses > 0 else 1.0
    return min(low, value), max(high, value)


def compute_length_interval(value: float, stderr: float | None, n: int) -> tuple[float, float] | tuple[None, None]:
    """Return Student's 95 % interval of a mean over n problems, cut off at 0; None for a single problem."""
    if stderr is None:
        return None, None
    from scipy.special import stdtrit

    reach = float(stdtrit(n - 1, 1 - _TAIL)) * stderr
    return max(value - reach, 0.0), value + reach


def _compute_stderr(counted: Sequence[Count], value: float) -> float:
    n, whole = len(counted), math.fsum(whole for _, whole in counted)
    squares = math.fsum((part - value * own) ** 2 for part, own in counted)
    return math.sqrt(n / (n - 1) * squares) / whole
