"""Define a critique: the set of steps that a critic calls wrong in one solution, or an abstention with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from evals.models.base import Usage

Aim = Literal["steps", "answer"]
"""What a critic is asked: which steps are wrong, or whether the final answer is wrong."""

Abstention = Literal["empty", "truncated", "no_list", "out_of_range", "refusal", "timeout", "error"]
UNREACHED = frozenset({"timeout", "error"})
"""Abstentions that the connection causes, not the solution; for the others, the critic's reply was not usable."""


@dataclass(frozen=True)
class Critique:
    """One critique of one solution.

    Attributes:
        wrong: Indices (from 0) of the steps called wrong. For a critique of the answer: {0} if the critic calls the
            answer wrong. None if the critic abstained.
        abstained: Why there is no verdict; None if there is one.
        text: What the critic wrote; if the request failed, a description of the failure. Empty for critics that write
            no text.
        usage: Tokens and money that the request for this critique cost.
        reused: Whether the critique was stored or requested by another caller, so that it cost nothing now. This does
            not affect equality.
    """

    wrong: frozenset[int] | None
    abstained: Abstention | None = None
    text: str = ""
    usage: Usage = field(default_factory=Usage)
    reused: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if (self.wrong is None) == (self.abstained is None):
            raise ValueError("a critique either names its wrong steps or says why it abstains, never both or neither")


def check_critique(critique: Critique, steps: int) -> Critique:
    """Return the critique, or an abstention (`out_of_range`) if it names a step that does not exist.

    Args:
        critique: The critique.
        steps: Number of the solution's steps.
    """
    if critique.wrong is None or all(0 <= step < steps for step in critique.wrong):
        return critique
    return replace(critique, wrong=None, abstained="out_of_range")


def measure_usage(critiques: Iterable[Sequence[Critique]]) -> dict[str, float]:
    """Return the summed costs of critiques; a reused critique counts with its original cost."""
    every = [critique for row in critiques for critique in row]
    usages = [critique.usage for critique in every]
    prompt, output = sum(usage.prompt_tokens for usage in usages), sum(usage.output_tokens for usage in usages)
    return {
        "critiques": float(len(usages)),
        "critiques_reused": float(sum(critique.reused for critique in every)),
        "critic_tokens": float(prompt + output),
        "critic_prompt_tokens": float(prompt),
        "critic_cached_tokens": float(sum(usage.cached_tokens for usage in usages)),
        "critic_output_tokens": float(output),
        "critic_money": sum(usage.money for usage in usages),
    }
