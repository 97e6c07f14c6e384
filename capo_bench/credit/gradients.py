"""How the gradients of steps lie to each other: from them follows the direction of any method's update.

With h_s the gradient of Σ_{t ∈ s} log π(token t) / |o_i| of a step, an update's direction is g = Σ_s A_s h_s, for the
loss averages over a response's tokens. So products of any two directions are Aᵀ K B with K = H Hᵀ, worked out once.
Gradients are sketched to `WIDTH` numbers by random signs (a count sketch, the same for all), which keeps their products
to about 1/√WIDTH of their size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from evals.models.transformers import TransformersModel
from trainers.credit.arrays import FloatArray
from trainers.rollouts import Rollout

WIDTH = 16_384
"""Numbers of a sketch."""

MOST_PARAMETERS = 20_000_000
"""Above so many, gradients of every step are not worked out: they take a backward pass each."""


def compute_gram(model: TransformersModel, rollouts: Sequence[Rollout]) -> FloatArray:
    """Return the inner products of the gradients of all steps, shape (N, N)."""
    weights = [weight for weight in model.model.parameters() if weight.requires_grad]
    sketch = _Sketch(sum(weight.numel() for weight in weights))
    rows = [row for rollout in rollouts for row in _compute_step_gradients(model, rollout, weights, sketch)]
    sketches = np.array(rows).reshape(-1, WIDTH)
    return np.asarray(sketches @ sketches.T)


class _Sketch:
    """A count sketch: every number goes to one of `WIDTH` places with a random sign."""

    def __init__(self, size: int) -> None:
        drawn = torch.Generator().manual_seed(0)
        self._places = torch.randint(WIDTH, (size,), generator=drawn)
        self._signs = torch.randint(2, (size,), generator=drawn).double() * 2 - 1

    def of(self, gradients: Sequence[torch.Tensor]) -> FloatArray:
        """Return the sketch of gradients laid end to end, shape (WIDTH,)."""
        flat = torch.cat([gradient.detach().cpu().double().ravel() for gradient in gradients])
        sketch = torch.zeros(WIDTH, dtype=torch.float64).index_add_(0, self._places, flat * self._signs)
        return np.asarray(sketch.numpy())


def _compute_step_gradients(
    model: TransformersModel, rollout: Rollout, weights: Sequence[torch.Tensor], sketch: _Sketch
) -> list[FloatArray]:
    prompt, tokens, steps = _tokenize_rollout(model, rollout)
    if not tokens:
        return [np.zeros(WIDTH) for _ in rollout.steps]
    ids = torch.tensor([[*prompt, *tokens]], device=model.model.device)
    with torch.enable_grad():
        logits: Any = model.model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        taken = logits.log_softmax(-1).gather(1, ids[0, len(prompt) :, None])[:, 0] / len(tokens)
        of_step = torch.tensor(steps, device=taken.device)
        sketches = []
        for step in range(len(rollout.steps)):
            own = of_step == step
            if not own.any():
                sketches.append(np.zeros(WIDTH))
                continue
            sketches.append(sketch.of(torch.autograd.grad(taken[own].sum(), list(weights), retain_graph=True)))
    return sketches


def _tokenize_rollout(model: TransformersModel, rollout: Rollout) -> tuple[list[int], list[int], list[int]]:
    """Return the tokens of prompt and completion, and the step of each of the latter's."""
    end = sorted(model.conventions.ends)[:1]
    steps = np.repeat(np.arange(len(rollout.tokens)), rollout.tokens).tolist()
    tokens = list[tuple[int, int]]()
    for piece, step in zip(rollout.pieces, steps, strict=True):
        ids = model.encode(piece, special=False) if piece else end
        tokens += [(token, step) for token in ids]
    return model.encode(model.prompt(rollout.prompt)), [token for token, _ in tokens], [step for _, step in tokens]
