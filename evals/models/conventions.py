"""What a model's files say of how it is talked to, read once: its template, and what ends a turn of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.models.base import ModelError
from evals.models.prompt import Template, choose_template, render_turns, template_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLY = "capo-bench"
"""What the model is made to say, to see what its template writes after it."""


@dataclass(frozen=True)
class Conventions:
    """How a model is talked to.

    Attributes:
        template: How a text is put to it.
        template_hash: Content hash of all that stands around the text.
        ends: Ids of the tokens that end its turn: those of the tokenizer and of the generation settings, and the one
            with which its chat template closes a turn. A base model may name another one than its template writes; it
            would run on into turns that it invents.
        flaw: What is wrong with the chat template, as a sentence; None if nothing is.
    """

    template: Template
    template_hash: str
    ends: frozenset[int]
    flaw: str | None

    def identity(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return what of it decides answers, readable by people."""
        ends = sorted(map(str, tokenizer.convert_ids_to_tokens(sorted(self.ends))))
        return {"template": self.template, "template_hash": self.template_hash, "ends": ends}


def read_conventions(wanted: str, config: Any, generation: Any, tokenizer: PreTrainedTokenizerBase) -> Conventions:
    """Return the conventions of a model.

    Args:
        wanted: A template, or ``auto``.
        config: The model's configuration.
        generation: Its generation settings; of them only the ends of a turn are heeded.
        tokenizer: Its tokenizer.

    Raises:
        ModelError: The template is unknown or cannot be rendered, or nothing ends a turn.
    """
    template = choose_template(wanted, config, tokenizer)
    closing = close_of_turn(tokenizer) if template in {"chat", "message"} and tokenizer.chat_template else ""
    closer = token_at(closing, tokenizer)
    ends = _ids(getattr(generation, "eos_token_id", None), tokenizer.eos_token_id, closer)
    if not ends:
        raise ModelError(f"the tokenizer of {tokenizer.name_or_path} names no end token; add eos_token to its settings")
    return Conventions(template, template_hash(template, tokenizer.chat_template), ends, _flaw(closing, closer))


def close_of_turn(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the chat template writes after the content of the model's turn, without space around it.

    Raises:
        ModelError: The template cannot be rendered.
    """
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _REPLY}]
    return render_turns(turns, tokenizer, opened=False).rpartition(_REPLY)[2].strip()


def token_at(text: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the id of the special or added token that a text begins with; the longest of them, None without one."""
    added = tokenizer.added_tokens_decoder.items()
    fitting = [
        (len(token.content), number) for number, token in added if token.content and text.startswith(token.content)
    ]
    return max(fitting)[1] if fitting else None


def _flaw(closing: str, closer: int | None) -> str | None:
    if not closing or closer is not None:
        return None
    return (
        f"the chat template closes a turn with {closing!r}, which is no token of the tokenizer and ends nothing: the "
        "model may go on into turns that it invents; add it to the tokenizer's special tokens, or mend the template"
    )


def _ids(*named: int | Collection[int] | None) -> frozenset[int]:
    each = [[ends] if isinstance(ends, int) else ends or [] for ends in named]
    return frozenset(token for tokens in each for token in tokens)
