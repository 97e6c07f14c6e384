"""Read the conventions in a model's files: its template, and the tokens that end a turn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.models.base import ModelError
from evals.models.prompt import Template, choose_template, hash_template, render_turns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLY = "capo-bench"
"""Content of an artificial turn, to find the template's text after a turn."""


@dataclass(frozen=True)
class Conventions:
    """Template and end tokens of a model.

    Attributes:
        template_hash: Content hash of the template's text around a message.
        ends: Ids of the tokens that end the model's turn: those of the tokenizer and of the generation settings, and
            the one with which its chat template closes a turn. A base model's settings may name another token than its
            template writes; without the template's token, the model would continue and invent turns.
        flaw: Error in the chat template, as a sentence; None if there is none.
    """

    template: Template
    template_hash: str
    ends: frozenset[int]
    flaw: str | None

    def identity(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the part that affects answers, in readable form."""
        ends = sorted(map(str, tokenizer.convert_ids_to_tokens(sorted(self.ends))))
        return {"template": self.template, "template_hash": self.template_hash, "ends": ends}


def read_conventions(wanted: str, config: Any, generation: Any, tokenizer: PreTrainedTokenizerBase) -> Conventions:
    """Return the conventions of a model.

    Raises:
        ModelError: The template is unknown or cannot be rendered, or nothing ends a turn.
    """
    template = choose_template(wanted, config, tokenizer)
    closing = close_of_turn(tokenizer) if template in {"chat", "message"} and tokenizer.chat_template else ""
    closer = find_token(closing, tokenizer)
    ends = _collect_ids(getattr(generation, "eos_token_id", None), tokenizer.eos_token_id, closer)
    if not ends:
        raise ModelError(f"the tokenizer of {tokenizer.name_or_path} names no end token; add eos_token to its settings")
    return Conventions(
        template, hash_template(template, tokenizer.chat_template), ends, _describe_flaw(closing, closer)
    )


def close_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the chat template's text after the content of the model's turn, stripped.

    Raises:
        ModelError: The template cannot be rendered.
    """
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _REPLY}]
    return render_turns(turns, tokenizer, opened=False).rpartition(_REPLY)[2].strip()


def find_token(text: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the id of the longest special or added token at the start of a text; None if there is none."""
    added = tokenizer.added_tokens_decoder.items()
    fitting = [
        (len(token.content), number) for number, token in added if token.content and text.startswith(token.content)
    ]
    return max(fitting)[1] if fitting else None


def _describe_flaw(closing: str, closer: int | None) -> str | None:
    if not closing or closer is not None:
        return None
    return (
        f"the chat template closes a turn with {closing!r}, which is no token of the tokenizer and ends nothing: the "
        "model may go on and invent turns; add it to the tokenizer's special tokens, or correct the template"
    )


def _collect_ids(*named: int | Collection[int] | None) -> frozenset[int]:
    each = [[ends] if isinstance(ends, int) else ends or [] for ends in named]
    return frozenset(token for tokens in each for token in tokens)
