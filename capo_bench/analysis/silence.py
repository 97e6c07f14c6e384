"""Does a critic abstain more often on some rollouts than on others: on long ones, or on wrong ones?

Silence that goes with length or outcome is not a loss of signal alone: just those rollouts lose their own charge, and
have their group's mean. The test: the share of critiques without a verdict among long rollouts (more tokens than the
median) less that among the others, and among wrong ones less that among right ones, each with a 95 % interval that
resamples whole problems. A difference of at least a point whose interval leaves 0 out is told, of ten problems or more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from evals.critics.metrics import interval, resampled
from trainers.credit.arrays import FloatArray
from trainers.rollouts import Rollout

LEAST = 0.01
"""A difference of shares below this is not told, however certain."""
FEWEST = 10
"""Fewer problems than this tell nothing: resampled, they give intervals far too narrow, down to no width at all."""

Sorting = Callable[[tuple[int, float | None]], bool | None]
"""From tokens and outcome of a rollout to whether it is of the first kind; None: of neither."""


@dataclass
class Silence:
    """Critiques of each rollout, by problem.

    Attributes:
        counts: Problem to (tokens, outcome, critiques, those without a verdict) of each of its rollouts.
    """

    counts: dict[str, list[tuple[int, float | None, int, int]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rollouts: Sequence[Rollout]) -> None:
        """Count rollouts."""
        for rollout in rollouts:
            silent = sum(critique.wrong is None for critique in rollout.critiques)
            row = (sum(rollout.tokens), rollout.outcome, len(rollout.critiques), silent)
            self.counts[rollout.problem].append(row)

    def cautions(self, critic: str) -> list[str]:
        """Return a sentence for length and one for the outcome, where silence goes with them."""
        lengths = [tokens for rows in self.counts.values() for tokens, *_ in rows]
        if len(self.counts) < FEWEST or not any(silent for rows in self.counts.values() for *_, silent in rows):
            return []
        middle = float(np.median(lengths))
        kinds: tuple[tuple[str, str, Sorting], ...] = (
            (f"rollouts of more than {middle:g} tokens", "on shorter ones", lambda row: row[0] > middle),
            ("wrong answers", "on right ones", lambda row: None if row[1] is None else row[1] < 1),
        )
        return [text for kind in kinds if (text := self._caution(critic, *kind))]

    def _caution(self, critic: str, name: str, others: str, kind: Sorting) -> str:
        table = self._table(kind)
        first, second = _shares(np.asarray(table.sum(axis=0))).tolist()
        shares = _shares(resampled(table))
        low, high = interval(shares[:, 0] - shares[:, 1])
        if low is None or high is None or not (low > 0 or high < 0) or abs(first - second) < LEAST:
            return ""
        return (
            f"{critic} abstains unevenly: {100 * first:.1f} % of critiques of {name} have no verdict, and "
            f"{100 * second:.1f} % {others} ({100 * (first - second):+.1f} points, 95 % interval {100 * low:+.1f} to "
            f"{100 * high:+.1f}, {len(table)} problems). Rollouts without any verdict are charged their group's mean."
        )

    def _table(self, kind: Sorting) -> FloatArray:
        """Return silent and all critiques of the first kind, then of the second, shape (problems, 4)."""
        table = np.zeros((len(self.counts), 4))
        for place, rows in enumerate(self.counts.values()):
            for tokens, outcome, asked, silent in rows:
                first = kind((tokens, outcome))
                if first is not None:
                    table[place] += (silent, asked, 0, 0) if first else (0, 0, silent, asked)
        return table


def _shares(sums: FloatArray) -> FloatArray:
    """Return the share of silent critiques of both kinds, shape (…, 2); NaN where none was asked for."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[..., 0::2] / sums[..., 1::2])
