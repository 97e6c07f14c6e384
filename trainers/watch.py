"""Hearing of every completion as soon as its end token is sampled, while others of its batch still go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

OnFinished = Callable[[int, list[int]], None]
"""Told the row of the batch and the sampled token ids, the end token included."""


class FinishedRows(StoppingCriteria):
    """Tells of rows that have just ended; stops none itself.

    Args:
        prompt_length: Length of the padded prompts: what comes after it was sampled.
        end: Id of the end token.
        on_finished: Called once for each row that samples its end token, in the order in which they end.
    """

    def __init__(self, prompt_length: int, end: int, on_finished: OnFinished) -> None:
        self._prompt_length, self._end, self._on_finished = prompt_length, end, on_finished
        self._told: set[int] = set()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Look at the token that every row got last."""
        for row in (input_ids[:, -1] == self._end).nonzero().flatten().tolist():
            if row not in self._told:
                self._told.add(row)
                self._on_finished(row, input_ids[row, self._prompt_length :].tolist())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def watching(model: Any, end: int, on_finished: OnFinished) -> Iterator[None]:
    """Within it, `model.generate` tells of every row that ends; what it samples is the same.

    Args:
        model: The model, as it will be asked to generate.
        end: Id of the end token.
        on_finished: See `FinishedRows`.
    """
    generate = model.generate

    def watched(*args: Any, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        rows = FinishedRows(input_ids.shape[1], end, on_finished)
        return generate(*args, input_ids=input_ids, stopping_criteria=StoppingCriteriaList([rows]), **kwargs)

    model.generate = watched
    try:
        yield
    finally:
        del model.generate
