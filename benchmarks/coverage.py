"""Measure the coverage of the report's intervals, the error rate of its rule, and its power.

    python -m benchmarks.coverage [--studies 1000] [--only rule]

Studies are drawn from a known truth: whether seed s answers problem p is a coin whose log odds are the variant's level
plus the seed's luck plus the problem's ease. Ease is shared between variant and baseline up to a correlation; below 1
there are problems that suit one of them. The true difference is that of the two means over all seeds and problems, by
quadrature. Compared are the report's degrees of freedom, Satterthwaite's and the fewest.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from capo_bench.analysis.power import compute_detectable, estimate_components
from capo_bench.analysis.stats import NOISE, Matrix, VarianceTerms, adjust_by_holm, estimate_mean, estimate_terms

VARIANTS = 5
GAIN = 0.2
"""The true difference for the comparison of ways to count degrees of freedom."""

EASE = 1.5
"""Standard deviation of the problems' ease, in log odds."""


@dataclass(frozen=True)
class Truth:
    """Parameters from which studies are drawn.

    Attributes:
        seeds: S.
        problems: P.
        luck: Standard deviation of the seeds' luck, in log odds.
        shared: Correlation of a problem's ease for the variant and for the baseline.
        gain: How far the variant is above the baseline, in log odds.
    """

    seeds: int
    problems: int
    luck: float
    shared: float
    gain: float = 0.5

    @property
    def difference(self) -> float:
        """The true mean difference."""
        points, mass = np.polynomial.hermite_e.hermegauss(80)
        spread = math.hypot(EASE, self.luck)
        return float(mass @ (_odds(self.gain + spread * points) - _odds(spread * points)) / mass.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    parts = {"intervals": _coverage, "rule": _rule}
    parser.add_argument("--only", choices=parts, help="one part of it")
    arguments = parser.parse_args()
    for name, part in parts.items():
        if arguments.only in {None, name}:
            part(arguments.studies)


def study(truth: Truth, rng: np.random.Generator, variants: int = 1) -> Iterator[tuple[Matrix, Matrix]]:
    """Draw the answers, 0 or 1, of variants and of the baseline that they share."""
    ease = rng.normal(size=(1, truth.problems))

    def train(level: float, suits: Matrix) -> Matrix:
        luck = truth.luck * rng.normal(size=(truth.seeds, 1))
        return (rng.random((truth.seeds, truth.problems)) < _odds(level + EASE * suits + luck)).astype(float)

    base = train(0.0, ease)
    for _ in range(variants):
        own = rng.normal(size=ease.shape)
        yield train(truth.gain, truth.shared * ease + math.sqrt(1 - truth.shared**2) * own), base


def _coverage(studies: int) -> None:
    print(f"Coverage of 95 % intervals of a difference, {studies} studies a line; median width in points")
    print("seeds problems luck shared | interval")
    for seeds, problems, luck, shared in product((2, 3, 5, 10), (64, 256), (0.0, 0.2, 0.5), (1.0, 0.8)):
        truth = Truth(seeds, problems, luck, shared)
        rng = np.random.default_rng([seeds, problems, int(10 * luck), int(10 * shared)])
        drawn = (next(study(truth, rng)) for _ in range(studies))
        intervals = [estimate_mean(ours - theirs) for ours, theirs in drawn]
        hit = np.mean([interval.low <= truth.difference <= interval.high for interval in intervals])
        width = 100 * np.median([interval.high - interval.low for interval in intervals])
        print(f"{seeds:5d} {problems:8d} {luck:4.1f} {shared:6.1f} | {hit:.3f} ({width:.1f})", flush=True)


def _rule(studies: int) -> None:
    print(f"\nThe rule over {VARIANTS} variants, {studies} studies a line: any called beyond noise where none differs,")
    print(f"and found where one differs by {100 * GAIN:.0f} points, by the report's degrees of freedom, by")
    print("Satterthwaite's and by the fewest; found where one differs by what is detectable with 80 % power")
    print("seeds problems luck shared | false | found | detectable | found")
    for seeds, problems, luck, shared in product((2, 3, 5, 10), (64, 256), (0.0, 0.2, 0.5), (1.0, 0.8)):
        truth = Truth(seeds, problems, luck, shared, gain=0.0)
        rng = np.random.default_rng([seeds, problems, int(10 * luck), int(10 * shared), 1])
        false, limits = np.zeros(3), []
        for _ in range(studies):
            differences = [ours - theirs for ours, theirs in study(truth, rng, VARIANTS)]
            by_way = zip(*map(_p_values, differences), strict=True)
            false += [min(adjust_by_holm(p_values)) < NOISE for p_values in by_way]
            variances = estimate_components(differences[0])
            assert variances is not None
            limits.append(compute_detectable(variances, NOISE / VARIANTS))
        limit = float(np.median(limits))
        shown = (_shown(false / studies), _found(truth, GAIN, studies, rng), _found(truth, limit, studies, rng)[:5])
        line = f"{seeds:5d} {problems:8d} {luck:4.1f} {shared:6.1f}"
        print(f"{line} | {shown[0]} | {shown[1]} | {100 * limit:.1f} points | {shown[2]}", flush=True)


def _found(truth: Truth, difference: float, studies: int, rng: np.random.Generator) -> str:
    """Return the share of studies in which a true difference is found at Holm's first step, by each way."""
    reached, detected = with_difference(truth, difference), np.zeros(3)
    if reached is None:
        return " none"
    for _ in range(studies):
        ours, theirs = next(study(reached, rng))
        detected += np.array(_p_values(ours - theirs)) < NOISE / VARIANTS
    return _shown(detected / studies)


def _p_values(values: Matrix) -> tuple[float, float, float]:
    """Return p by the report's degrees of freedom, by Satterthwaite's and by the fewest that seeds or problems have."""
    from scipy.special import stdtr

    interval, parts = estimate_mean(values), estimate_terms(values)
    if not interval.error:
        return (interval.p,) * 3
    fewest = min(parts.freedoms[:2])
    return interval.p, *(
        float(2 * stdtr(freedom, -abs(interval.mean / interval.error))) for freedom in (_welch(parts), fewest)
    )


def _welch(parts: VarianceTerms) -> float:
    """Return Satterthwaite's degrees of freedom, not fewer than the fewest."""
    spread = zip((parts.seed, parts.problem, parts.rest), parts.freedoms, strict=True)
    variance, _ = parts.combined()
    return max(variance**2 / sum(term**2 / freedom for term, freedom in spread), min(parts.freedoms[:2]))


def _shown(shares: Matrix) -> str:
    return " ".join(f"{share:.3f}" for share in shares)


def with_difference(truth: Truth, difference: float) -> Truth | None:
    """Return the truth with the gain for this difference; None if there is none."""
    low, high = 0.0, 12.0
    if replace(truth, gain=high).difference < difference:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if replace(truth, gain=middle).difference < difference else (low, middle)
    return replace(truth, gain=high)


def _odds(level: Matrix) -> Matrix:
    return np.asarray(1 / (1 + np.exp(-level)))


if __name__ == "__main__":
    main()
