"""Compute the clipped probability ratio for several updates on one sampled batch, when it differs from 1.

With ρ_{i,t} = π(o_{i,t}) / π_old(o_{i,t}), where π_old is the policy that sampled (TRL scores its tokens before the
first update), the loss of a token is −min(ρ A, clip(ρ, 1 − ε_low, 1 + ε_high) A), arXiv 1707.06347, equation 7.

With `train.ratio: sequence`, ρ_{i,t} is s_i = exp(mean over t of log ρ_{i,t}) for all tokens of a rollout, arXiv
2507.18071. It is used in the form of that paper's section on GSPO-token, sg[s_i] · π / sg[π], in which the gradient of
a token keeps the advantage of that token. With one advantage per rollout this is GSPO, including the gradient. TRL's
own form has one ratio per rollout, and its gradient spreads the mean advantage over the tokens: the credit of steps
would be lost.

TRL's loss reads `old_per_token_logps` only after it has scored the batch. Therefore this class can set that value when
the scores are known, so that TRL computes the desired ratio.
"""

from __future__ import annotations

from typing import Any

import torch

from trainers.config import TrialConfig
from trainers.microbatches import Scores, SortedTrainer

OLD = "old_per_token_logps"


class RatioTrainer(SortedTrainer):
    """TRL's trainer with the ratio of tokens or of sequences; it also reports the ratio.

    Attributes:
        config: The trial's settings.
    """

    config: TrialConfig
    _learnt: dict[str, Any] | None = None  # the batch whose loss is being computed, until it is scored

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        if self.config.train.updates_per_batch == 1:
            return super()._compute_loss(model, inputs)
        self._learnt = {**inputs}  # a copy, because the batch itself must not change
        return super()._compute_loss(model, self._learnt)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Scores:
        scores = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        inputs, self._learnt = self._learnt, None
        if inputs is not None:
            new, mask = scores[0].detach(), inputs["completion_mask"]
            if self.config.train.ratio == "sequence":
                inputs[OLD] = new - average_log_ratio(new - inputs[OLD], mask)
            self._report_ratio(torch.exp(new - inputs[OLD]), mask)
        return scores

    def _report_ratio(self, ratios: torch.Tensor, mask: torch.Tensor) -> None:
        totals = self.accelerator.reduce(torch.stack([(ratios * mask).sum(), mask.sum()]))
        self._metrics["train"]["mean_ratio"].append((totals[0] / totals[1].clamp(min=1)).item())


def average_log_ratio(log_ratios: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean log ratio of each rollout's tokens, shape (B, 1); 0 for a rollout without tokens.

    Args:
        log_ratios: log π − log π_old of the sampled tokens, shape (B, T).
        mask: 1 where a rollout has a token, else 0; shape (B, T).
    """
    return (log_ratios * mask).sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
