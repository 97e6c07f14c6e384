"""Report each completion as soon as it ends, while others of its batch are still being generated."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

OnFinished = Callable[[int, list[int]], None]
"""Called with the row in the batch and the sampled token ids, including the end token."""


class FinishedRows(StoppingCriteria):
    """Reports each row once, in order, after it has sampled an end token; it stops no row."""

    def __init__(self, prompt_length: int, ends: Collection[int], on_finished: OnFinished) -> None:
        self._prompt_length, self._on_finished = prompt_length, on_finished
        self._ends = torch.tensor(sorted(ends))
        self._finished: set[int] = set()

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Check the last token of every row."""
        for row in torch.isin(input_ids[:, -1], self._ends.to(input_ids.device)).nonzero().flatten().tolist():
            if row not in self._finished:
                self._finished.add(row)
                self._on_finished(row, input_ids[row, self._prompt_length :].tolist())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def watch_generate(model: Any, ends: Collection[int], on_finished: OnFinished) -> Iterator[None]:
    """Make `model.generate` report every row that ends; it samples the same tokens."""
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
def watch_engine(engine: Any, on_finished: OnFinished) -> Iterator[None]:
    """Make an engine of vLLM report every completion that ends; it samples the same tokens.

    Args:
        engine: vLLM's `LLM`. It must be called once, with one completion for each prompt of the batch, because it
            numbers its requests in their order.
        on_finished: See `FinishedRows`; also called for truncated completions.
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
