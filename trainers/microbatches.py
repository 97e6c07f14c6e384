"""Group rollouts of similar length into micro-batches, and remove the padding that all rows of a micro-batch share.

TRL pads all rollouts of a step to the longest prompt and the longest completion among them, shuffles them and splits
them into micro-batches of that width. Most of the computation of an update is then on padding. Here the rollouts of a
process are split into micro-batches by length, the longest first (so that too little memory fails at once), and each
pass of the model skips the columns in which no row has a token. The order is the same for the pass that scores what
vLLM sampled and for the update, so that both use the same micro-batches.

The assignment of rollouts to micro-batches affects nothing but rounding: the advantages are computed before, and each
loss that a method uses here is a sum over rollouts or tokens whose divisor does not depend on it. A step with one
micro-batch is the same as TRL's, bit for bit. Only text is supported: TRL's image inputs are not sorted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import pad
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

TOKEN_MEANS = ("entropy", "clip_ratio/region_mean", "kl", "mean_ratio")
"""Metrics of TRL that are means over the tokens of a micro-batch; TRL reports their unweighted mean over a step."""

Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
"""Log-probabilities and entropies of tokens, shape (B, T), and the load-balancing loss of a mixture of experts."""


class SortedTrainer(GRPOTrainer):
    """TRL's trainer with micro-batches sorted by length."""

    args: GRPOConfig

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        # Stored with each rollout, because TRL shuffles the rollouts before it splits them.
        return {**output, "place": sort_longest_first(mask).argsort()}

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        batches = self._buffered_inputs
        if batches is before or self.args.steps_per_generation == 1:
            return inputs
        self._buffered_inputs = split_tensor_dict(restore_order(batches), len(batches))
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
        order = sort_longest_first(attention_mask)
        parts = []
        for rows in torch.split(order, batch_size or len(order)):
            first, width = find_used_columns(attention_mask[rows], logits_to_keep)
            columns = slice(first, attention_mask.size(1) - logits_to_keep + width)
            ids, mask = input_ids[rows, columns], attention_mask[rows, columns]
            logps, entropies, loss = score(model, ids, mask, width, **kwargs)
            parts.append((_pad_values(logps, logits_to_keep), _pad_values(entropies, logits_to_keep), loss))
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
        # Micro-batches differ in length. They are weighted by their tokens, so that the mean over them is that of all
        # tokens.
        tokens = self.accelerator.reduce(inputs["completion_mask"].sum())
        batches = self.args.gradient_accumulation_steps
        weight = (tokens * batches / inputs["num_items_in_batch"].clamp(min=1)).item()
        for name in TOKEN_MEANS:
            if values := self._metrics["train"].get(name):
                values[-1] *= weight
        return loss


def sort_longest_first(mask: torch.Tensor) -> torch.Tensor:
    """Return the row indices by decreasing number of tokens, shape (B,); rows of equal length keep their order.

    Args:
        mask: 1 where a row has a token, else 0; shape (B, columns).
    """
    return mask.sum(dim=1).argsort(descending=True, stable=True)


def find_used_columns(mask: torch.Tensor, completion: int) -> tuple[int, int]:
    """Return the first column of the prompts in which a row has a token, and the width of the longest completion.

    Args:
        mask: Prompts, padded on the left, and completions, padded on the right: shape (B, columns).
        completion: Number of columns of the completions.

    Returns:
        The column and the width. If all columns are padding, one column of the prompts or of the completions is kept.
    """
    used = mask.any(dim=0)
    prompt = used.numel() - completion
    first = int(used[:prompt].int().argmax()) if used[:prompt].any() else prompt - 1
    ends = used[prompt:].nonzero()
    return first, int(ends[-1]) + 1 if len(ends) else 1


def restore_order(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Return micro-batches as one batch with rows ordered by `place`; values without a row dimension are unchanged."""
    order = torch.cat([batch["place"] for batch in batches]).argsort()
    return {
        name: torch.cat([batch[name] for batch in batches])[order] if value.ndim else value
        for name, value in batches[0].items()
    }


def _pad_values(values: torch.Tensor | None, width: int) -> torch.Tensor | None:
    """Return values of tokens, shape (B, T), padded with zeros to the width of all micro-batches."""
    return None if values is None else pad(values, (0, width - values.size(1)))
