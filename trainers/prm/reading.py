"""Format a solution for a process reward model: its tokens, and the token at which each step is scored.

``trl``
    The training format of TRL's PRMTrainer (arXiv 2211.14275): the problem as plain text, then each step followed by a
    line break. A step is scored at its last token, which is that of the line break.
``qwen``
    The format of Qwen2.5-Math-PRM (arXiv 2501.07301 and the model's card): the problem as a user message in the model's
    chat template, the solution as the reply, with the token ``<extra_0>`` after each step. A step is scored at that
    token.

The positions result from concatenating the tokens, not from searching for the separator. Therefore a solution that
contains the separator's text moves no score. No text of a step is read as a special token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.models.prompt import encode, render
from trainers.prm.config import Format

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEPARATORS: dict[Format, str] = {"trl": "\n", "qwen": "<extra_0>"}


@dataclass(frozen=True)
class Reading:
    """The tokens of a solution, and the index of the token at which each step is scored, ascending."""

    ids: list[int]
    ends: list[int]


class Reader:
    """Converts problems and solutions to a model's tokens.

    Raises:
        ValueError: The tokenizer lacks the separator of the format.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, form: Format) -> None:
        self._tokenizer, self._form = tokenizer, form
        separator: Any = tokenizer(SEPARATORS[form], add_special_tokens=False)["input_ids"]
        if not separator or (form == "qwen" and len(separator) > 1):
            raise ValueError(
                f"prm.format {form!r} ends a step with the token {SEPARATORS[form]!r}, which the model's tokenizer "
                "does not have; set prm.format as the model was trained"
            )
        self._separator: list[int] = separator

    def read(self, problem: str, steps: Sequence[str]) -> Reading:
        """Return the tokens of a problem and its solution."""
        ids, ends = self._opening(problem), []
        for step in steps:
            ids += self._plain(step) + self._separator
            ends.append(len(ids) - 1)
        return Reading(ids, ends)

    def _opening(self, problem: str) -> list[int]:
        if self._form == "qwen":
            return encode(render(problem, "message", self._tokenizer), self._tokenizer)
        first = self._tokenizer.bos_token_id
        return [*([] if first is None else [first]), *self._plain(problem)]

    def _plain(self, text: str) -> list[int]:
        """Return the tokens of a text; none of them is a special token."""
        encoded: Any = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])
