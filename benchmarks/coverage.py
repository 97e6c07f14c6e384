"""How often the report's intervals hold the truth, how often its rule is wrong, and whether its power is as told.

    python -m benchmarks.coverage [--studies 1000] [--only overall]

Studies are drawn from a known truth: whether seed s answers problem p is a coin whose log odds are the variant's level
plus the seed's luck plus the problem's ease. Ease is shared between variant and baseline up to a correlation; below 1
there are problems that suit one of them. The true difference is that of the two means over all seeds and problems, by
quadrature. Compared are the report's interval, the percentile interval of the crossed bootstrap and the bootstrap-t of
the same resamples; and the report's degrees of freedom, Satterthwaite's and the fewest.

Over several tasks the true interquartile mean is that of all seeds there could be, on all problems of these tasks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from capo_bench.report.overall import Combined, interquartile_mean, overall
from capo_bench.report.power import components, detectable
from capo_bench.report.resample import Weights, newcombe, resampled_means, weights
from capo_bench.report.stats import NOISE, Layout, Matrix, Terms, holm, mean_interval, terms

VARIANTS = 5
GAIN = 0.2
"""The true difference that the ways to count degrees of freedom are asked to find."""

TASKS = (1.5, 0.0, -1.5)
"""How easy three tasks are, in log odds."""

EASE = 1.5
"""Standard deviation of the problems' ease, in log odds."""


@dataclass(frozen=True)
class Truth:
    """What studies are drawn from.

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
    parts = {"intervals": _coverage, "improvement": _ahead, "rule": _rule, "overall": _overall}
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


def bootstrap_t(values: Matrix, drawn: Weights) -> tuple[float, float]:
    """Return the bootstrap-t interval: each resample's distance from the mean in its own standard errors."""
    by_seed, by_problem = drawn
    seeds, problems = values.shape
    means = resampled_means(values, drawn)
    of_seeds, of_problems = values @ by_problem.T / problems, by_seed @ values / seeds
    across_seeds = (by_seed * (of_seeds.T - means[:, None]) ** 2).sum(axis=1)
    across_problems = (by_problem * (of_problems - means[:, None]) ** 2).sum(axis=1)
    total = ((values**2) @ by_problem.T * by_seed.T).sum(axis=0) - seeds * problems * means**2
    rest = total - problems * across_seeds - seeds * across_problems
    a, b = across_seeds / seeds / (seeds - 1), across_problems / problems / (problems - 1)
    c = rest / (seeds - 1) / (problems - 1) / (seeds * problems)
    errors = np.sqrt(np.maximum(np.maximum(a + b - c, a), b))
    center = values.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (means - center) / errors
    low, high = np.quantile(ratios[~np.isnan(ratios)], [0.025, 0.975], method="inverted_cdf")
    error = mean_interval(values).error
    return float(center - high * error), float(center - low * error)


def _coverage(studies: int) -> None:
    print(f"Coverage of 95 % intervals of a difference, {studies} studies a line; median width in points")
    print("seeds problems luck shared | interval | percentile bootstrap | bootstrap-t")
    for seeds, problems, luck, shared in product((2, 3, 5, 10), (64, 256), (0.0, 0.2, 0.5), (1.0, 0.8)):
        truth = Truth(seeds, problems, luck, shared)
        rng = np.random.default_rng([seeds, problems, int(10 * luck), int(10 * shared)])
        ends = np.array([_intervals(next(study(truth, rng))) for _ in range(studies)])
        hits = ((ends[:, :, 0] <= truth.difference) & (truth.difference <= ends[:, :, 1])).mean(axis=0)
        widths = 100 * np.median(ends[:, :, 1] - ends[:, :, 0], axis=0)
        shown = " | ".join(f"{hit:.3f} ({width:.1f})" for hit, width in zip(hits, widths, strict=True))
        print(f"{seeds:5d} {problems:8d} {luck:4.1f} {shared:6.1f} | {shown}", flush=True)


def _intervals(scores: tuple[Matrix, Matrix]) -> list[tuple[float, float]]:
    values = scores[0] - scores[1]
    drawn = weights(tuple(range(len(values))), tuple(map(str, range(values.shape[1]))))
    found = mean_interval(values)
    low, high = np.quantile(resampled_means(values, drawn), [0.025, 0.975])
    return [(found.low, found.high), (float(low), float(high)), bootstrap_t(values, drawn)]


def _ahead(studies: int) -> None:
    """Runs are normal around means one standard deviation apart, or three, or none."""
    from scipy.special import ndtr

    print(f"\nCoverage of the 95 % interval of a probability of improvement, {10 * studies} studies a cell")
    print("seeds | true P 0.50 | 0.76 | 0.98")
    for seeds in (2, 3, 5, 10):
        rng, hits = np.random.default_rng(seeds), []
        for apart in (0.0, 1.0, 3.0):
            ours, theirs = rng.normal(apart, 1, (10 * studies, seeds, 1)), rng.normal(0, 1, (10 * studies, 1, seeds))
            shares = (ours > theirs).mean(axis=(1, 2))
            ends = np.array([newcombe(float(share), seeds) for share in shares])
            truth = float(ndtr(apart / math.sqrt(2)))
            hits.append(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
        print(f"{seeds:5d} | " + " | ".join(f"{hit:.3f}" for hit in hits), flush=True)


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
            false += [min(holm(found)) < NOISE for found in by_way]
            found = components(differences[0])
            assert found is not None
            limits.append(detectable(found, NOISE / VARIANTS))
        limit = float(np.median(limits))
        told = (_shown(false / studies), _found(truth, GAIN, studies, rng), _found(truth, limit, studies, rng)[:5])
        line = f"{seeds:5d} {problems:8d} {luck:4.1f} {shared:6.1f}"
        print(f"{line} | {told[0]} | {told[1]} | {100 * limit:.1f} points | {told[2]}", flush=True)


def _found(truth: Truth, difference: float, studies: int, rng: np.random.Generator) -> str:
    """Return in how many studies a true difference is found at Holm's first step, by each way."""
    reached, found = _with(truth, difference), np.zeros(3)
    if reached is None:
        return " none"
    for _ in range(studies):
        ours, theirs = next(study(reached, rng))
        found += np.array(_p_values(ours - theirs)) < NOISE / VARIANTS
    return _shown(found / studies)


def _p_values(values: Matrix) -> tuple[float, float, float]:
    """Return p by the report's degrees of freedom, by Satterthwaite's and by the fewest that seeds or problems have."""
    from scipy.special import stdtr

    found, parts = mean_interval(values), terms(values)
    if not found.error:
        return (found.p,) * 3
    fewest = min(parts.freedoms[:2])
    return found.p, *(float(2 * stdtr(freedom, -abs(found.mean / found.error))) for freedom in (_welch(parts), fewest))


def _welch(parts: Terms) -> float:
    """Return Satterthwaite's degrees of freedom, not fewer than the fewest."""
    spread = zip((parts.seed, parts.problem, parts.rest), parts.freedoms, strict=True)
    variance, _ = parts.combined()
    return max(variance**2 / sum(term**2 / freedom for term, freedom in spread), min(parts.freedoms[:2]))


def _overall(studies: int) -> None:
    print(f"\nCoverage over {len(TASKS)} tasks, {studies} studies a line; median width in points")
    print("seeds problems luck | mean | difference of means | IQM | difference of IQMs")
    for seeds, problems, luck in product((2, 3, 5, 10), (64, 256), (0.0, 0.2, 0.5)):
        truth = Truth(seeds, problems, luck, 0.8)
        rng, true = np.random.default_rng([seeds, problems, int(10 * luck), 2]), _true(truth)
        ends = np.array([_over_tasks(truth, rng) for _ in range(studies)])
        hits = ((ends[:, :, 0] <= true) & (true <= ends[:, :, 1])).mean(axis=0)
        widths = 100 * np.median(ends[:, :, 1] - ends[:, :, 0], axis=0)
        shown = " | ".join(f"{hit:.3f} ({width:.1f})" for hit, width in zip(hits, widths, strict=True))
        print(f"{seeds:5d} {problems:8d} {luck:4.1f} | {shown}", flush=True)


def _true(truth: Truth) -> Matrix:
    """Return mean, difference of means, interquartile mean and difference of these, of all seeds and problems."""
    from scipy.special import ndtri

    points, mass = np.polynomial.hermite_e.hermegauss(80)
    seeds = truth.luck * ndtri((np.arange(2000) + 0.5) / 2000)

    def runs(level: float) -> Matrix:
        levels = np.add.outer(np.array(TASKS) + level, seeds)
        return np.asarray(_odds(levels[..., None] + EASE * points) @ mass / mass.sum())

    ours, theirs = runs(truth.gain), runs(0.0)
    iqm = interquartile_mean(ours)
    return np.array([ours.mean(), ours.mean() - theirs.mean(), iqm, iqm - interquartile_mean(theirs)])


def _over_tasks(truth: Truth, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Return the report's intervals of one study, in the order of `_true`; a seed is as lucky on every task."""
    luck = {name: truth.luck * rng.normal(size=(truth.seeds, 1)) for name in ("ours", "theirs")}
    scores: dict[str, list[Layout]] = {"ours": [], "theirs": []}
    names = tuple(f"{number:03d}" for number in range(truth.problems))
    for level in TASKS:
        ease = rng.normal(size=(1, truth.problems))
        own = truth.shared * ease + math.sqrt(1 - truth.shared**2) * rng.normal(size=ease.shape)
        for name, gain, suits in (("ours", truth.gain, own), ("theirs", 0.0, ease)):
            chance = _odds(level + gain + EASE * suits + luck[name])
            right = (rng.random(chance.shape) < chance).astype(float)
            scores[name].append(Layout(tuple(range(truth.seeds)), names, right))
    found = overall(scores, {"ours": "theirs"})["ours"]
    assert found.versus is not None
    return [one for kind in ("mean", "iqm") for one in (_end(found.value, kind), _end(found.versus, kind))]


def _end(found: Combined, kind: str) -> tuple[float, float]:
    _, low, high = getattr(found, kind)
    return low, high


def _shown(shares: Matrix) -> str:
    return " ".join(f"{share:.3f}" for share in shares)


def _with(truth: Truth, difference: float) -> Truth | None:
    """Return the truth with the gain that makes this difference; None where no gain does."""
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
