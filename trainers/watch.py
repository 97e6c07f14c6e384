"""Hearing of every completion as soon as it ends, while others of its batch still go on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

OnFinished = Callable[[int, list[int]], None]
"""Told the row of the batch and the sampled token ids, the end token included."""


class FinishedRows(StoppingCriteria):
    """Tells once, in their order, of rows that have just sampled an end token; stops none itself."""

    def __init__(self, prompt_length: int, ends: Collection[int], on_finished: OnFinished) -> None:
        self._prompt_length, self._on_finished = prompt_length, on_finished
        self._ends = torch.tensor(sorted(ends))
        self._finished: set[int] = set()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Look at the token that every row got last."""
        for row in torch.isin(input_ids[:, -1], self._ends.to(input_ids.device)).nonzero().flatten().tolist():
            if row not in self._finished:
                self._finished.add(row)
                self._on_finished(row, input_ids[row, self._prompt_length :].tolist())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def watching(model: Any, ends: Collection[int], on_finished: OnFinished) -> Iterator[None]:
    """Within it, `model.generate` tells of every row that ends; what it samples is the same."""
    generate = model.generate

    def watched(*args: Any, input_ids: torch.Tensor, **kwargs: Any) -> Any:
        rows = FinishedRows(input_ids.shape[1], ends, on_finished)
        return generate(*args, input_ids=input_ids, stopping_criteria=StoppingCriteriaList([rows]), **kwargs)

    model.generate = watched
    try:
        yield
    finally:
        del model.generate


@contextmanager
def watching_engine(engine: Any, on_finished: OnFinished) -> Iterator[None]:
    """Within it, an engine of vLLM tells of every completion that ends; what it samples is the same.

    Args:
        engine: vLLM's `LLM`, as it will be asked once for one completion of each prompt of the batch: it numbers its
            requests in their order.
        on_finished: See `FinishedRows`; told of completions that were cut, too.
    """
    step, first = engine.llm_engine.step, engine.request_counter.counter

    def watched() -> Any:
        outputs = step()
        for output in outputs:
            if output.finished:
                on_finished(int(output.request_id) - first, list(output.outputs[0].token_ids))
        return outputs

    engine.llm_engine.step = watched
    try:
        yield
    finally:
        del engine.llm_engine.step
