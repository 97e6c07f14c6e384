"""Demonstrations as texts: what the model reads, as it reads it in rollouts, and what it learns to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evals.models.conventions import close_of_turn
from evals.models.prompt import Template, render, render_turns
from evals.tasks.demonstrations import Demonstration
from trainers.sft import Pair

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_pair(demonstration: Demonstration, template: Template, tokenizer: PreTrainedTokenizerBase) -> Pair:
    """Return a demonstration as texts.

    In a chat template the completion closes its turn as the template does, since that is how a rollout must end.

    Args:
        demonstration: The demonstration. A problem is put as a rollout puts it; a conversation stands as it is.
        template: How the backbone is asked.
        tokenizer: The backbone's.

    Raises:
        ValueError: A conversation without a chat template.
        ModelError: The chat template cannot be rendered.
    """
    prompt, completion = demonstration.prompt, demonstration.completion
    if template != "chat" and not isinstance(prompt, str):
        raise ValueError(
            f"a demonstration is a conversation, and template {template!r} puts problems alone; give the backbone "
            "template: chat, or name columns of problems and solutions (prompt, completion)"
        )
    if template != "chat":
        return render(str(prompt), template, tokenizer), completion
    if isinstance(prompt, str):
        text = render(prompt, template, tokenizer)
    else:
        text = render_turns([{"role": role, "content": said} for role, said in prompt], tokenizer, opened=True)
    return text, completion.rstrip() + close_of_turn(tokenizer)
