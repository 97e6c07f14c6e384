"""Score steps by a process reward model: the probability that each step is right, from one forward pass.

A score is p = softmax(logits)[1] at the scored token of its step (`trainers.prm.reading`). A solution that cannot be
scored has no scores but the reason why, and does not affect the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    Qwen2Config,
    Qwen2Model,
    Qwen2PreTrainedModel,
)
from transformers.modeling_outputs import TokenClassifierOutput

from trainers.credit.arrays import FloatArray
from trainers.prm.config import PrmConfig
from trainers.prm.reading import Reader, Reading
from trainers.prm.scored import ScoredSolution

log = logging.getLogger(__name__)

RIGHT = 1
"""The class of right steps."""


ARCHITECTURE = "Qwen2ForProcessRewardModel"


class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):  # type: ignore[no-untyped-call]
    """Qwen2 with two classes for every token, wrong and right, like Qwen2.5-Math-PRM (arXiv 2501.07301).

    Its head is two linear layers with a ReLU between them. Transformers does not include it; this class loads its
    weights without running code from the hub.
    """

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


class Scorer:
    """A loaded process reward model.

    Raises:
        ValueError: The model does not score steps in this format.
        OSError: The model cannot be loaded.
    """

    def __init__(self, params: PrmConfig, source: str) -> None:
        self._batch_tokens = params.batch_tokens
        tokenizer = AutoTokenizer.from_pretrained(source, revision=params.revision, trust_remote_code=False)
        self._reader = Reader(tokenizer, params.format)
        self._model = load_model(source, params.revision, getattr(torch, params.dtype))
        self._positions = getattr(self._model.config, "max_position_embeddings", None)
        self._filler = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(weight.numel() for weight in self._model.parameters())

    def to(self, device: torch.device) -> None:
        """Move the model to a device."""
        self._model.to(device)

    def score(self, solutions: Sequence[tuple[str, Sequence[str]]]) -> list[ScoredSolution]:
        """Score the steps of solutions, given the problem and the steps of each."""
        readings = [self._reader.read(problem, steps) for problem, steps in solutions]
        solutions_scored = [ScoredSolution(None, "too_long")] * len(readings)
        for rows in self._batches(readings):
            for row, scored in zip(rows, self._batch([readings[row] for row in rows]), strict=True):
                solutions_scored[row] = scored
        return solutions_scored

    def _batches(self, readings: Sequence[Reading]) -> Iterator[list[int]]:
        """Yield batches of the readings that fit the model's positions, the longest first, each within `batch_tokens`.

        A batch has at least one reading.
        """
        fit = [row for row, each in enumerate(readings) if not self._positions or len(each.ids) <= self._positions]
        rows = sorted(fit, key=lambda row: -len(readings[row].ids))
        while rows:
            count = max(self._batch_tokens // len(readings[rows[0]].ids), 1)
            yield rows[:count]
            rows = rows[count:]

    def _batch(self, readings: Sequence[Reading]) -> list[ScoredSolution]:
        try:
            right = self._right(readings)
        except Exception:
            log.exception("the process reward model failed on %d solutions; they are not scored", len(readings))
            return [ScoredSolution(None, "error")] * len(readings)
        return [_make_scored(row[each.ends], len(each.ids)) for row, each in zip(right, readings, strict=True)]

    @torch.inference_mode()
    def _right(self, readings: Sequence[Reading]) -> FloatArray:
        """Return the probability of the class right at every token, shape (readings, longest)."""
        width, device = max(len(each.ids) for each in readings), self._model.device
        # Padded on the right, because in a causal model a token does not attend to later tokens.
        ids = torch.tensor([each.ids + [self._filler] * (width - len(each.ids)) for each in readings], device=device)
        lengths = torch.tensor([len(each.ids) for each in readings], device=device)
        mask = (torch.arange(width, device=device)[None, :] < lengths[:, None]).long()
        logits = self._model(input_ids=ids, attention_mask=mask).logits
        return np.asarray(logits.double().softmax(dim=-1)[..., RIGHT].cpu().numpy(), dtype=np.float64)


def _make_scored(scores: FloatArray, tokens: int) -> ScoredSolution:
    if not np.isfinite(scores).all():
        return ScoredSolution(None, "not_finite", tokens)
    return ScoredSolution(tuple(scores.tolist()), tokens=tokens)


def load_model(source: str, revision: str | None, dtype: torch.dtype) -> Any:
    """Return a token classifier with two classes in evaluation mode; no code of a repository is run.

    Raises:
        ValueError: Its files lack the head's weights, or it does not have two classes.
        OSError: It cannot be loaded.
    """
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    kind: Any = AutoModelForTokenClassification
    if ARCHITECTURE in (config.architectures or ()):
        kind = Qwen2ForProcessRewardModel
    model, loading = kind.from_pretrained(
        source, revision=revision, dtype=dtype, output_loading_info=True, trust_remote_code=False
    )
    classes = int(model.config.num_labels)
    if missing := sorted(loading["missing_keys"]):
        raise ValueError(
            f"prm.model {source!r} has no weights for {', '.join(missing[:3])}: it was not trained to classify tokens; "
            "name a process reward model"
        )
    if classes != 2:
        raise ValueError(
            f"prm.model {source!r} tells {classes} classes of tokens apart; a process reward model has two, wrong and "
            "right"
        )
    return model.eval()
