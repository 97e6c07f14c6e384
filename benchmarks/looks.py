"""How often a study that is looked at several times is wrong, what it finds and what it costs, beside a fixed one.

    python -m benchmarks.looks [--studies 1000]

Studies of five variants are drawn as in `benchmarks.coverage`, with 12 seeds, and looked at with 3, 5, 8 and 12 of them
by the report's rule. The fixed study is looked at once, with all 12. Ways to spend the error rate are compared: the
report's, α·t², and those near the bounds of O'Brien and Fleming and of Pocock (Lan and DeMets, 1983).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.coverage import VARIANTS, Truth, study, with_difference
from capo_bench.analysis.looks import FEWEST_FREEDOM
from capo_bench.analysis.spending import Array, Spending, compute_sequential_p, spend_squared
from capo_bench.analysis.stats import NOISE, Matrix, adjust_by_holm, estimate_mean

LOOKS = (3, 5, 8, 12)
GAINS = (0.1, 0.2)
"""True differences that are to be found."""

SETTINGS = ((64, 0.0, 1.0), (64, 0.2, 0.8), (64, 0.5, 1.0), (256, 0.2, 0.8), (256, 0.5, 0.8), (256, 0.5, 1.0))
"""Problems, the seeds' luck and the share of ease that variants have in common (`benchmarks.coverage.Truth`)."""


def _near_obrien_fleming(alpha: Array, share: float) -> Array:
    from scipy.special import ndtr, ndtri

    return np.asarray(4 * ndtr(ndtri(alpha / 4) / np.sqrt(share)))


def _near_pocock(alpha: Array, share: float) -> Array:
    return alpha * np.log1p((np.e - 1) * share)


SPENDINGS: dict[str, Spending] = {
    "α·t²": spend_squared,
    "O'Brien-Fleming": _near_obrien_fleming,
    "Pocock": _near_pocock,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    print(f"{VARIANTS} variants, looks at {', '.join(map(str, LOOKS))} seeds; {studies} studies a line without a")
    print(f"difference, {studies // 4} with one in every variant. False: any variant called different. Found: share")
    print("of the variants; trials: share of those of the fixed study")
    print("problems luck shared spending | false | 10 points: found trials | 20 points: found trials")
    for problems, luck, shared in SETTINGS:
        truth = Truth(LOOKS[-1], problems, luck, shared, gain=0.0)
        truths = [truth, *(one for gain in GAINS if (one := with_difference(truth, gain)))]
        rng = np.random.default_rng([problems, int(10 * luck), int(10 * shared), 2])
        drawn = [
            [[ours - theirs for ours, theirs in study(one, rng, VARIANTS)] for _ in range(studies // (4 if at else 1))]
            for at, one in enumerate(truths)
        ]
        parts = [[_fixed(each) for each in part] for part in drawn]
        _print((problems, luck, shared), "fixed", [(np.array(part), 1.0) for part in parts])
        levels = [[[_p_values(values) for values in each] for each in part] for part in drawn]
        for name, spend in SPENDINGS.items():
            looked = [[_looked(each, spend) for each in part] for part in levels]
            results = [
                (np.array([found for found, _ in part]), float(np.mean([cost for _, cost in part]))) for part in looked
            ]
            _print((problems, luck, shared), name, results)


def _print(setting: tuple[int, float, float], name: str, parts: Sequence[tuple[Matrix, float]]) -> None:
    (false, _), *gains = parts
    cells = " | ".join(f"{found.mean():.3f} {cost:.2f}" for found, cost in gains)
    print(
        f"{setting[0]:8d} {setting[1]:4.1f} {setting[2]:6.1f} {name:15} | {false.any(axis=1).mean():.3f} | {cells}",
        flush=True,
    )


def _fixed(differences: Sequence[Matrix]) -> list[bool]:
    return [p < NOISE for p in adjust_by_holm([estimate_mean(values).p for values in differences])]


def _p_values(values: Matrix) -> list[float]:
    return [estimate_mean(values[:count], most_freedom=FEWEST_FREEDOM).p for count in LOOKS]


def _looked(p_values: Sequence[Sequence[float]], spend: Spending) -> tuple[list[bool], float]:
    """Return which variants are called different, and the share of the trials of the fixed study that this took."""
    decided = dict[int, int]()
    for look, count in enumerate(LOOKS, 1):
        sequential = [
            compute_sequential_p(each[: LOOKS.index(decided.get(variant, count)) + 1], LOOKS, spend)
            for variant, each in enumerate(p_values)
        ]
        found = [variant for variant, p in enumerate(adjust_by_holm(sequential)) if p < NOISE]
        decided = {variant: decided.get(variant, count) for variant in found}
        if len(decided) == len(p_values) or look == len(LOOKS):
            break
    seeds = [decided.get(variant, LOOKS[-1]) for variant in range(len(p_values))]
    trials = sum(seeds) + max(seeds)  # the baseline goes on as long as any variant does
    return [variant in decided for variant in range(len(p_values))], trials / (LOOKS[-1] * (len(p_values) + 1))


if __name__ == "__main__":
    main()
