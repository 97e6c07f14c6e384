"""Measure and limit the compute of training, so that methods with different costs can be compared at equal compute.

With N parameters, a token costs about 2·N floating-point operations forward and 4·N backward. Attention is left out,
which matters for texts that are much longer than the model is wide. Let T be the tokens that are sampled and trained on
in U updates, and P the prompt tokens of the rollouts. Sampling computes S of these prompt tokens (each rollout's
prompt, or each group's prompt once if its rollouts share it). Let T_c be the tokens that a critic of N_c parameters
reads and writes, and V the tokens that the policy reads and writes to continue rollouts for Monte Carlo values. Then

    total tokens = U·(T + P) + V + T_c · N_c / N                     in tokens of the policy
    train FLOPs  = 2·N·(T + S + V) + F·N·(T + P) + 2·N_c·T_c          sampled; passed forward and backward; criticised

with F = 6 for one update, and F = 6·U + 2 for more: the first of several updates needs the probabilities under the
policy that sampled, which takes an additional forward pass.

In FLOPs, a policy token costs four times as much as a token of a critic of the same size; total tokens ignore this
difference. Both leave out the reference model's pass, if `train.kl` needs one, and the computation on padding. Critics
that are checkers have no parameters. A reused critique counts with its original tokens. The training of a critic, of a
process reward model or of the cold start does not count for a trial; reports show it separately.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, model_validator

from evals.settings import Positive, Strict

LIMITS = ("policy_tokens", "total_tokens", "train_flops", "seconds")
WEIGHED = frozenset({"total_tokens", "train_flops"})
"""Limits for which the size of the critic must be known."""


COUNTED = ("policy_tokens", "policy_prompt_tokens", "policy_prefill_tokens", "value_tokens", "critic_tokens")
"""Keys of a step's record for T, P, S, V and T_c."""


class BudgetConfig(Strict):
    """A limit on spending since the first step: training ends after the step that reaches it.

    Attributes:
        policy_tokens: Sampled tokens.
        total_tokens: Sampled tokens, their prompt tokens, tokens of continuations, and the critic's tokens weighted by
            its parameters relative to the policy's.
        train_flops: Floating-point operations of sampling, updating and criticising.
        seconds: Wall time of the training steps on this machine.
    """

    policy_tokens: Positive | None = None
    total_tokens: Positive | None = None
    train_flops: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
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
        """Name of the limited quantity, one of `LIMITS`."""
        return next(name for name in LIMITS if getattr(self, name) is not None)

    @property
    def limit(self) -> float:
        """Value of the limit."""
        return float(getattr(self, self.unit))

    def share(self, steps: Iterable[Mapping[str, Any]]) -> float:
        """Return the spending of all steps from the first as a share of the budget; from 1 on the budget is reached.

        Raises:
            KeyError: A record lacks the limited quantity.
        """
        return math.fsum(step[self.unit] for step in steps) / self.limit

    def shares(self, steps: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return `share` after each of the steps.

        Raises:
            KeyError: A record lacks the limited quantity.
        """
        return [self.share(steps[:count]) for count in range(1, len(steps) + 1)]


@dataclass(frozen=True)
class Meter:
    """Computes the spending of training steps.

    Attributes:
        critic: Parameters of the critic; 0 for none and for a checker, None if unknown.
        budget: Limit on spending, if there is one.
    """

    policy: int
    critic: int | None = 0
    budget: BudgetConfig | None = None
    updates: int = 1

    def read(self, step: Mapping[str, Any]) -> dict[str, float]:
        """Return the spending of a step that its record does not contain yet; nothing if the critic's size is unknown.

        The result includes the sizes of the models, so that the other values can be computed again from the record.
        """
        sampled, prompts, prefilled, continued, read = (float(step.get(name, 0.0)) for name in COUNTED)
        if self.critic is None and read:
            return {}
        critic, learnt = self.critic or 0, sampled + prompts
        passes = 6 if self.updates == 1 else 6 * self.updates + 2
        return {
            "policy_parameters": float(self.policy),
            "critic_parameters": float(critic),
            "total_tokens": self.updates * learnt + continued + read * critic / self.policy,
            "train_flops": self.policy * (2 * (sampled + prefilled + continued) + passes * learnt)
            + 2.0 * critic * read,
        }
