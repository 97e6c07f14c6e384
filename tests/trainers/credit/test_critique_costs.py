"""What critiques cost, by hand."""

from __future__ import annotations

from evals.models.base import Usage
from trainers.credit.critique import Critique, measure_usage


def test_what_critiques_cost_is_summed_and_reused_ones_cost_what_they_did() -> None:
    asked = Critique(frozenset({0}), usage=Usage(prompt_tokens=10, output_tokens=4, cached_tokens=6, money=0.25))
    silent = Critique(None, "timeout", usage=Usage(prompt_tokens=3, output_tokens=0, cached_tokens=0, money=0.5))
    kept = Critique(
        frozenset(), usage=Usage(prompt_tokens=10, output_tokens=2, cached_tokens=1, money=0.0), reused=True
    )
    assert measure_usage([[asked, silent], [kept]]) == {
        "critiques": 3.0, "critiques_reused": 1.0, "critic_tokens": 29.0, "critic_prompt_tokens": 23.0,
        "critic_cached_tokens": 7.0, "critic_output_tokens": 6.0, "critic_money": 0.75,
    }  # fmt: skip
