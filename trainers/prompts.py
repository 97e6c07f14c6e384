"""What a policy reads: the problem as it stands, or in its tokenizer's chat template with an instruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.benchmarks import Problem
from trainers.backbones import BackboneConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INSTRUCTION = (
    "Solve the problem step by step. Separate the steps with blank lines. "
    "Put the final answer, and nothing else, in \\boxed{} in the last step.\n\n"
)


def render(problem: Problem, backbone: BackboneConfig, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the text that the policy continues.

    A template that opens with the beginning-of-sequence token loses it here: the tokenizer adds it again.
    """
    if not backbone.chat:
        return problem.prompt
    message = [{"role": "user", "content": INSTRUCTION + problem.prompt}]
    text = str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    return text.removeprefix(tokenizer.bos_token or "")
