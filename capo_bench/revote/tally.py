"""Sums over batches of rollouts that say what other votes make of rewards and advantages."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capo_bench.critic.quality import divide
from capo_bench.revote.batch import Stored
from trainers.credit.arrays import FloatArray
from trainers.credit.batch import Earned, Evidence, process_signal_only

ROUNDING = 1e-9
"""An advantage up to this size is rounding and has no sign; a change up to this size is no change."""


@dataclass
class Distance:
    """Differences of rewards or advantages to those of a reference, token by token.

    Attributes:
        tokens: Tokens compared.
        changed: Those with another value.
        flipped: Those whose value has another sign.
        moved: Sum of absolute differences.
        moments: Sums of the values x and the reference's y: x, y, x², y², xy.
    """

    tokens: float = 0
    changed: float = 0
    flipped: float = 0
    moved: float = 0
    moments: FloatArray = field(default_factory=lambda: np.zeros(5))

    def add(self, ours: FloatArray, theirs: FloatArray, tokens: FloatArray) -> None:
        """Count steps, each with its number of tokens, shape (N,) each."""
        apart = np.abs(ours - theirs)
        self.tokens += float(tokens.sum())
        self.changed += float(tokens[apart > ROUNDING].sum())
        self.flipped += float(tokens[_sign(ours) != _sign(theirs)].sum())
        self.moved += float((tokens * apart).sum())
        self.moments = self.moments + np.stack([ours, theirs, ours**2, theirs**2, ours * theirs]) @ tokens

    @property
    def correlation(self) -> float | None:
        """Pearson's correlation over tokens; None where one side does not vary."""
        if not self.tokens:
            return None
        x, y, xx, yy, xy = (self.moments / self.tokens).tolist()
        variances = (xx - x * x, yy - y * y)
        return None if min(variances) <= 1e-12 else (xy - x * y) / math.sqrt(variances[0] * variances[1])


@dataclass
class TokenTally:
    """Rewards and advantages of tokens under a setting, compared with training and with exact labels.

    Attributes:
        trials: Trials that stored enough critiques for it.
        trained_with: Those of them that were trained with it.
        groups: Groups of rollouts.
        process_only: Those with signal from the process only.
        rewards: Distance to the rewards of training.
        trained: Distance to the advantages of training.
        exact: Distance to the advantages under exact labels and the same weights.
    """

    trials: int = 0
    trained_with: int = 0
    groups: int = 0
    process_only: int = 0
    rewards: Distance = field(default_factory=Distance)
    trained: Distance = field(default_factory=Distance)
    exact: Distance = field(default_factory=Distance)

    def add(self, stored: Stored, ours: Earned, trained: Earned, exact: Earned, group_size: int) -> None:
        """Count a batch; a rollout whose answer could not be verified earns nothing and does not count."""
        owner, groups = stored.layout.owner, len(stored.outcomes) // group_size
        only = process_signal_only(stored.batch(group_size, Evidence()), ours.advantages)
        self.groups += groups
        self.process_only += round(only * groups) if groups else 0
        verified = ~np.isnan(stored.outcomes)[owner]
        checked = verified & ~np.isnan(stored.truth)
        tokens = stored.layout.tokens.astype(np.float64)
        if ours.rewards is not None and trained.rewards is not None:
            self.rewards.add(ours.rewards[verified], trained.rewards[verified], tokens[verified])
        self.trained.add(ours.advantages[verified], trained.advantages[verified], tokens[verified])
        self.exact.add(ours.advantages[checked], exact.advantages[checked], tokens[checked])

    def row(self) -> dict[str, Any]:
        """Return the distances as a row of plain values: shares from 0 to 1, None where undefined."""
        return {
            "trials": self.trials,
            "trained_with": self.trained_with,
            "reward_changed": divide(self.rewards.changed, self.rewards.tokens),
            "reward_moved": divide(self.rewards.moved, self.rewards.tokens),
            "sign_changed": divide(self.trained.flipped, self.trained.tokens),
            "moved": divide(self.trained.moved, self.trained.tokens),
            "sign_off_exact": divide(self.exact.flipped, self.exact.tokens),
            "moved_exact": divide(self.exact.moved, self.exact.tokens),
            "correlation_exact": self.exact.correlation,
            "process_only": divide(self.process_only, self.groups),
        }


def _sign(values: FloatArray) -> FloatArray:
    return np.where(np.abs(values) > ROUNDING, np.sign(values), 0.0)
