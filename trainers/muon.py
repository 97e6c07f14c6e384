"""The optimizer of supervised lessons: Muon for the matrices of a model's layers, AdamW for the rest.

An embedded model has few steps to learn in. Muon makes each update of a matrix orthogonal, so that no direction waits
for its gradients to grow. Embeddings, norms and heads are no such matrices: they go to AdamW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BETAS = (0.9, 0.98)
"""Of AdamW: a lesson is short, and its second moments must not be those of its first steps."""


class MuonWithAdamW(Optimizer):
    """Two optimizers that a trainer and its schedule take for one; lessons have no checkpoints: no state is saved."""

    def __init__(self, model: PreTrainedModel, learning_rate: float, adamw_learning_rate: float) -> None:
        matrices = [layer.weight for layer in model.base_model.modules() if isinstance(layer, nn.Linear)]
        taken = {id(weight) for weight in matrices}
        rest = [weight for weight in model.parameters() if id(weight) not in taken]
        self._parts: tuple[Optimizer, ...] = (
            Muon(matrices, lr=learning_rate, weight_decay=0.0),
            AdamW(rest, lr=adamw_learning_rate, betas=BETAS, weight_decay=0.0),
        )
        groups = [
            {"params": matrices, "lr": learning_rate},
            {"params": rest, "lr": adamw_learning_rate},
        ]
        super().__init__(groups, {})

    def step(self, closure: Any = None) -> Any:
        """Take a step of both, at the learning rates that the schedule has set."""
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups[0]["lr"] = group["lr"]
            part.step()
