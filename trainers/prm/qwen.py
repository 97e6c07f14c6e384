"""The architecture of Qwen2.5-Math-PRM, which Transformers lacks: so that its weights load without code of the hub.

Source: arXiv 2501.07301 and the published weights: Qwen2 with a head of two linear layers and a ReLU between them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput

ARCHITECTURE = "Qwen2ForProcessRewardModel"


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """Qwen2 that gives every token two classes: wrong and right."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        width = int(config.hidden_size)
        self.model = Qwen2Model(config)
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs: Any
    ) -> TokenClassifierOutput:
        """Return the logits of the classes at every token, shape (B, T, 2)."""
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        return TokenClassifierOutput(logits=self.score(hidden))
