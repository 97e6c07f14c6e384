"""Define the scores of one solution by a process reward model. They are plain data, stored with the rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Unscored = Literal["too_long", "not_finite", "error"]

HALF = 0.5
"""A step with a score below this is flagged: the model considers it more likely wrong than right."""


@dataclass(frozen=True)
class ScoredSolution:
    """Scores of one solution: each step's probability of being right, or why there are none; tokens that were read."""

    scores: tuple[float, ...] | None
    unscored: Unscored | None = None
    tokens: int = 0

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.unscored is None):
            raise ValueError("a solution either has scores or a reason why it has none, never both or neither")
        if not all(0 <= score <= 1 for score in self.scores or ()):
            raise ValueError(f"scores {self.scores} are no probabilities; give numbers from 0 to 1")


def measure_scored(scored: Sequence[ScoredSolution]) -> dict[str, float]:
    """Return metrics of scored solutions under their names in step records; see `trainers.prm_trainer`.

    ``flagged_step_rate`` is the share of the scored steps with a score below `HALF`.
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
