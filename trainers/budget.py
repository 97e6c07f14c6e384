"""What training spends, and what it may spend beside its steps: methods of unlike cost compare at equal compute.

With N parameters a token costs about 2·N floating-point operations forward and 4·N backward; attention is left out,
which matters for texts much longer than the model is wide. So for T tokens sampled and trained on, and T_c read and
written by a critic of N_c parameters,

    total tokens = T + T_c · N_c / N          in tokens of the policy, by forward operations
    train FLOPs  = 2·N·T + 6·N·T + 2·N_c·T_c   sampled, then passed forward and backward

Critics that are checkers have no parameters. A critique that was reused counts with the tokens that it once cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from evals.config import Positive, Strict

LIMITS = ("policy_tokens", "total_tokens", "seconds")


class BudgetConfig(Strict):
    """A limit of spending since the first step: training ends with the step at which it is reached.

    Attributes:
        policy_tokens: Tokens sampled.
        total_tokens: These and the critic's, each of which weighs as much more as it has more parameters.
        seconds: Wall time of training's steps, on this machine.
    """

    policy_tokens: Positive | None = None
    total_tokens: Positive | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> BudgetConfig:
        given = [name for name in LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a budget is one limit but {' and '.join(given) or 'none'} is set; set one of {', '.join(LIMITS)}, or "
                "leave the budget out to train for train.steps"
            )
        return self

    @property
    def unit(self) -> str:
        """Which spending is limited: a name of `LIMITS`."""
        return next(name for name in LIMITS if getattr(self, name) is not None)

    @property
    def limit(self) -> float:
        """How much of it."""
        return float(getattr(self, self.unit))

    def share(self, steps: Iterable[Mapping[str, Any]]) -> float:
        """Return the spending of steps as a share of the budget; 1 or more: it is reached.

        Args:
            steps: Records of all steps from the first.

        Raises:
            KeyError: A record lacks what is limited.
        """
        return math.fsum(step[self.unit] for step in steps) / self.limit


@dataclass(frozen=True)
class Meter:
    """What a training's steps spend.

    Attributes:
        policy: Parameters of the policy.
        critic: Parameters of the critic; 0 for none and for a checker, None where nobody said.
        budget: What may be spent, if that is limited.
    """

    policy: int
    critic: int | None = 0
    budget: BudgetConfig | None = None

    def read(self, step: Mapping[str, Any]) -> dict[str, float]:
        """Return what a step spent beside what its record has; nothing where the critic's size is not known."""
        tokens, read = float(step.get("policy_tokens", 0.0)), float(step.get("critic_tokens", 0.0))
        if self.critic is None and read:
            return {}
        critic = self.critic or 0
        return {
            "total_tokens": tokens + read * critic / self.policy,
            "train_flops": 8.0 * self.policy * tokens + 2.0 * critic * read,
        }
