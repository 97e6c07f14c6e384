"""What a process reward model says of a solution. Plain data: it is kept with the rollout that it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unscored = Literal["too_long", "not_finite", "error"]

HALF = 0.5
"""A step whose score is below this is doubted: the model calls it rather wrong than right."""


@dataclass(frozen=True)
class ScoredSolution:
    """What the model says of one solution: the chance that each step is right, or why none; tokens that it read."""

    scores: tuple[float, ...] | None
    unscored: Unscored | None = None
    tokens: int = 0

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.unscored is None):
            raise ValueError("a solution either has scores or a reason why it has none, never both or neither")
        if not all(0 <= score <= 1 for score in self.scores or ()):
            raise ValueError(f"scores {self.scores} are no probabilities; give numbers from 0 to 1")


def scored_metrics(scored: Sequence[ScoredSolution]) -> dict[str, float]:
    """Return what scoring solutions took and gave, by the names of step records; see `trainers.prm_trainer`.

    ``flagged_step_rate`` is the share of the scored steps that are doubted.
    """
    scores = [score for each in scored for score in each.scores or ()]
    tokens = float(sum(each.tokens for each in scored))
    unscored = float(sum(each.scores is None for each in scored))
    return {
        "critiques": float(len(scored)),
        "abstained": unscored,
        "uncritiqued": unscored,
        "critic_tokens": tokens,
        "critic_prompt_tokens": tokens,
        "flagged_step_rate": sum(score < HALF for score in scores) / len(scores) if scores else float("nan"),
    }
