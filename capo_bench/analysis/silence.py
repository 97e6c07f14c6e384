"""Does a critic abstain more often on some rollouts than on others: on long ones, or on wrong ones?

Silence that goes with length or outcome is not a loss of signal alone: just those rollouts lose their own charge, and
have their group's mean. The test: the share of critiques without a verdict among long rollouts (more tokens than the
median) less that among the others, and among wrong ones less that among right ones, each with a 95 % interval that
resamples whole problems. A difference of at least a point whose interval leaves 0 out is told, of ten problems or more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from evals.critics.metrics import compute_interval, resample, sum_by_group
from trainers.credit.arrays import BoolArray, FloatArray
from trainers.rollouts import Rollout

LEAST = 0.01
"""A difference of shares below this is not told, however certain."""
FEWEST = 10
"""Fewer problems than this tell nothing: resampled, they give intervals far too narrow, down to no width at all."""

Silence = tuple[str, int, float, int, int]
"""A rollout's problem, tokens, outcome (NaN: unknown), critiques, and those of them without a verdict."""


def measure_silence(rollout: Rollout) -> Silence:
    """Return how silent critics were on a rollout."""
    outcome = float("nan") if rollout.outcome is None else rollout.outcome
    silent = sum(critique.wrong is None for critique in rollout.critiques)
    return rollout.problem, sum(rollout.tokens), outcome, len(rollout.critiques), silent


def list_silence_cautions(critic: str, rollouts: Sequence[Silence]) -> Iterator[str]:
    """Yield a sentence for length and one for the outcome, where a critic's silence goes with them."""
    problems = [problem for problem, *_ in rollouts]
    if len(set(problems)) < FEWEST or not any(silent for *_, silent in rollouts):
        return
    tokens, outcomes, asked, silent = np.array([numbers for _, *numbers in rollouts], dtype=np.float64).T
    middle = float(np.median(tokens))
    kinds: tuple[tuple[str, str, BoolArray, BoolArray], ...] = (
        (f"rollouts of more than {middle:g} tokens", "on shorter ones", tokens > middle, tokens <= middle),
        ("wrong answers", "on right ones", outcomes < 1, outcomes >= 1),
    )
    for name, others, first, second in kinds:
        columns = [silent * first, asked * first, silent * second, asked * second]
        table = sum_by_group(np.stack(columns, axis=1), problems)
        ours, theirs = _compute_silent_shares(np.asarray(table.sum(axis=0))).tolist()
        shares = _compute_silent_shares(resample(table))
        low, high = compute_interval(shares[:, 0] - shares[:, 1])
        if low is not None and high is not None and (low > 0 or high < 0) and abs(ours - theirs) >= LEAST:
            yield (
                f"{critic} abstains unevenly: {100 * ours:.1f} % of critiques of {name} have no verdict, and "
                f"{100 * theirs:.1f} % {others} ({100 * (ours - theirs):+.1f} points, 95 % interval {100 * low:+.1f} "
                f"to {100 * high:+.1f}, {len(table)} problems). Rollouts without any verdict are charged their group's "
                "mean."
            )


def _compute_silent_shares(sums: FloatArray) -> FloatArray:
    """Return the share of silent critiques of both kinds, shape (…, 2); NaN where none was asked for."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0::2] / sums[..., 1::2])
