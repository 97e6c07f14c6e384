"""What a policy reads: the problem as it stands, or in its tokenizer's chat template with an instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.benchmarks import Problem
from evals.models.prompt import render as render_text
from trainers.backbones import BackboneConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def render(problem: Problem, backbone: BackboneConfig, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the text that the policy continues: what an evaluation of it shows, too."""
    return render_text(problem.prompt, backbone.template, tokenizer)
