"""What training spends, and what it may spend beside its steps: methods of unlike cost compare at equal compute.

With N parameters a token costs about 2·N floating-point operations forward and 4·N backward; attention is left out,
which matters for texts much longer than the model is wide. So for T tokens sampled and trained on in U updates, P
tokens of the rollouts' prompts, of which sampling computes S (each rollout's prompt, or each group's once where its
rollouts share it), and T_c read and written by a critic of N_c parameters,

    total tokens = U·(T + P) + T_c · N_c / N                 in tokens of the policy
    train FLOPs  = 2·N·(T + S) + F·N·(T + P) + 2·N_c·T_c      sampled; passed forward and backward; criticised

with F = 6 for one update, and F = 6·U + 2 for more: the first of them needs the probabilities under the policy that
sampled, which is a pass forward of its own.

A policy token counts four times a critic's token of a model as large: total tokens leave that out, FLOPs do not. Left
out of both: the reference model's pass where `train.kl` asks for one, and what is computed on padding. Critics that are
checkers have no parameters. A critique that was reused counts with the tokens that it once cost. What the teaching of a
critic, a process reward model or the cold start took is not a trial's, and stands apart in reports.
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
"""Limits of spending that takes the size of a critic to be known."""


COUNTED = ("policy_tokens", "policy_prompt_tokens", "policy_prefill_tokens", "critic_tokens")
"""Tokens of a step's record: T, P, S and T_c."""


class BudgetConfig(Strict):
    """A limit of spending since the first step: training ends with the step at which it is reached.

    Attributes:
        policy_tokens: Tokens sampled.
        total_tokens: These, their prompts' and the critic's, each of which weighs as much more as it has more
            parameters.
        train_flops: Floating-point operations of sampling, updating and criticising.
        seconds: Wall time of training's steps, on this machine.
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
        """Which spending is limited: a name of `LIMITS`."""
        return next(name for name in LIMITS if getattr(self, name) is not None)

    @property
    def limit(self) -> float:
        """How much of it."""
        return float(getattr(self, self.unit))

    def share(self, steps: Iterable[Mapping[str, Any]]) -> float:
        """Return the spending of steps, all from the first, as a share of the budget; 1 or more: it is reached.

        Raises:
            KeyError: A record lacks what is limited.
        """
        return math.fsum(step[self.unit] for step in steps) / self.limit

    def shares(self, steps: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return `share` after each of the steps.

        Raises:
            KeyError: A record lacks what is limited.
        """
        return [self.share(steps[:count]) for count in range(1, len(steps) + 1)]


@dataclass(frozen=True)
class Meter:
    """What a training's steps spend.

    Attributes:
        critic: Parameters of the critic; 0 for none and for a checker, None where nobody said.
        budget: What may be spent, if that is limited.
    """

    policy: int
    critic: int | None = 0
    budget: BudgetConfig | None = None
    updates: int = 1

    def read(self, step: Mapping[str, Any]) -> dict[str, float]:
        """Return what a step spent beside what its record has; nothing where the critic's size is not known.

        The sizes are told too, so that whoever has the record can work the rest out again.
        """
        sampled, prompts, prefilled, read = (float(step.get(name, 0.0)) for name in COUNTED)
        if self.critic is None and read:
            return {}
        critic, learnt = self.critic or 0, sampled + prompts
        passes = 6 if self.updates == 1 else 6 * self.updates + 2
        return {
            "policy_parameters": float(self.policy),
            "critic_parameters": float(critic),
            "total_tokens": self.updates * learnt + read * critic / self.policy,
            "train_flops": self.policy * (2 * (sampled + prefilled) + passes * learnt) + 2.0 * critic * read,
        }
