"""Micro-batches of rollouts of about one length, each without the padding that all of its rows share.

TRL pads all rollouts of a step to the longest prompt and the longest completion among them, shuffles them and splits
them into micro-batches of that width, so most of what an update computes is padding. Here the rollouts of a process go
into micro-batches by their length, the longest first (what does not fit in memory fails at once), and each pass of the
model leaves out the columns in which none of its rows has a token. The same order holds for the pass that scores what
vLLM sampled and for the update, so that both see the same micro-batches.

Which rollouts share a micro-batch decides nothing but rounding: advantages are known before, and each loss that a
method uses here is a sum over rollouts or tokens whose divisor does not depend on it. A step of one micro-batch is left
as TRL makes it, to the bit. For text alone: what TRL holds of images is not sorted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

TOKEN_MEANS = ("entropy", "clip_ratio/region_mean", "kl", "mean_ratio")
"""Metrics of TRL that are means over the tokens of a micro-batch, of which a step's metric is the plain mean."""

Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Log-probabilities and entropies of tokens, shape (B, T), and the loss that balances a mixture of experts."""


class SortedTrainer(GRPOTrainer):
    """TRL's trainer with micro-batches by length."""

    args: GRPOConfig

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        # Kept beside each rollout, because TRL shuffles them before it splits them.
        return {**output, "place": longest_first(mask).argsort()}

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        batches = self._buffered_inputs
        if batches is before or self.args.steps_per_generation == 1:
            return inputs
        self._buffered_inputs = split_tensor_dict(in_place(batches), len(batches))
        return self._buffered_inputs[self._step % len(batches)]

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> Scores:
        score: Any = super()._get_per_token_logps_and_entropies
        if self.args.steps_per_generation == 1:
            whole: Scores = score(model, input_ids, attention_mask, logits_to_keep, batch_size, **kwargs)
            return whole
        order = longest_first(attention_mask)
        parts = []
        for rows in torch.split(order, batch_size or len(order)):
            first, width = used_columns(attention_mask[rows], logits_to_keep)
            columns = slice(first, attention_mask.size(1) - logits_to_keep + width)
            ids, mask = input_ids[rows, columns], attention_mask[rows, columns]
            logps, entropies, loss = score(model, ids, mask, width, **kwargs)
            parts.append((_widened(logps, logits_to_keep), _widened(entropies, logits_to_keep), loss))
        all_logps, all_entropies, losses = zip(*parts, strict=True)
        back = order.argsort()
        return (
            torch.cat(all_logps)[back],
            None if all_entropies[0] is None else torch.cat(all_entropies)[back],
            None if losses[0] is None else torch.stack(losses).mean(),
        )

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        compute: Any = super()._compute_loss
        loss = compute(model, inputs)
        # Micro-batches of unlike lengths: weighted by their tokens, so that the mean over them is that of all tokens.
        tokens = self.accelerator.reduce(inputs["completion_mask"].sum())
        batches = self.args.gradient_accumulation_steps
        weight = (tokens * batches / inputs["num_items_in_batch"].clamp(min=1)).item()
        for name in TOKEN_MEANS:
            if values := self._metrics["train"].get(name):
                values[-1] *= weight
        return loss


def longest_first(mask: torch.Tensor) -> torch.Tensor:
    """Return the rows in the order of their tokens, most first, those of equal length as they stand; shape (B,).

    Args:
        mask: 1 where a row has a token, else 0; shape (B, columns).
    """
    return mask.sum(dim=1).argsort(descending=True, stable=True)


def used_columns(mask: torch.Tensor, completion: int) -> tuple[int, int]:
    """Return the first column of the prompts in which a row has a token, and the width of the longest completion.

    Args:
        mask: Prompts, padded on the left, and completions, padded on the right: shape (B, columns).
        completion: Columns of the completions.

    Returns:
        A prompt and a completion keep one column at least, where all of their columns are padding.
    """
    used = mask.any(dim=0)
    prompt = used.numel() - completion
    first = int(used[:prompt].int().argmax()) if used[:prompt].any() else prompt - 1
    ends = used[prompt:].nonzero()
    return first, int(ends[-1]) + 1 if len(ends) else 1


def in_place(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return micro-batches as one batch, its rows in the order of their `place`; what is of all rows stays as it is."""
    order = torch.cat([batch["place"] for batch in batches]).argsort()
    return {
        name: torch.cat([batch[name] for batch in batches])[order] if value.ndim else value
        for name, value in batches[0].items()
    }


def _widened(values: torch.Tensor | None, width: int) -> torch.Tensor | None:
    """Return values of tokens, shape (B, T), with zeros up to the width of all micro-batches."""
    return None if values is None else pad(values, (0, width - values.size(1)))
