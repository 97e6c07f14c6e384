"""Run supervised training for any kind of data: one pass, with Muon and AdamW or with AdamW alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim import AdamW, Muon, Optimizer
from transformers import DataCollatorForTokenClassification, PrinterCallback, Trainer, TrainingArguments

from trainers import Emit
from trainers.backbones import BackboneConfig
from trainers.callbacks import Recorder
from trainers.teaching import UNLABELLED, SupervisedConfig, TeachingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = Mapping[str, list[int]]
"""``input_ids`` and ``labels`` of one example, of equal length."""
Batch = dict[str, Any]
Loss = Callable[[Any, Batch, torch.Tensor | None], torch.Tensor]
"""The loss of a model on a part of a step, given the number of labels in the whole step."""


BETAS = (0.9, 0.98)
"""Betas of AdamW. Training is short, so the second moments must not be dominated by its first steps."""


class MuonWithAdamW(Optimizer):
    """Muon for the matrices of a model's layers and AdamW for the rest, combined into one optimizer.

    An embedded model has few steps to learn in. Muon orthogonalises each update of a matrix, so that no direction has
    to wait until its gradients grow. Embeddings, norms and heads are not such matrices, so AdamW updates them.
    Supervised training has no checkpoints, so no state is saved.
    """

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
        """Take a step of both optimizers, at the learning rates that the schedule has set."""
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups[0]["lr"] = group["lr"]
            part.step()


class _Teacher(Trainer):
    lesson_loss: Loss

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        return self.lesson_loss(model, inputs, num_items_in_batch)


def teach(  # noqa: PLR0913, PLR0917 - model, data, settings and outputs
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    loss: Loss,
    config: TeachingConfig,
    out: Path,
    record: Emit,
    parts: int = 1,
    backbone: BackboneConfig | None = None,
) -> None:
    """Train `model` in place, in one pass over the rows in the given order.

    Args:
        model: The model to train.
        tokenizer: Its tokenizer, which pads.
        rows: The training examples.
        loss: The loss on a part of a step.
        config: Rows per optimizer step (the last step may have fewer), and the peak learning rates.
        out: Folder that the trainer may write to.
        record: Called once per step with ``{"step", "of", "loss", "num_input_tokens_seen", …}``.
        parts: Number of parts into which a step's rows are split for separate passes; a divisor of the rows per step.
        backbone: Settings of a model from the hub, which is trained on a GPU if there is one; None for an embedded
            model, which is trained on the CPU.
    """
    steps = math.ceil(len(rows) / config.problems_per_step)
    trainer = _Teacher(
        model=model,
        args=_make_arguments(config, steps, parts, out, backbone),
        train_dataset=cast("Any", rows),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        callbacks=[Recorder(record, steps)],
        optimizers=(_make_optimizer(model, config), None),
    )
    trainer.lesson_loss = loss
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _make_optimizer(model: PreTrainedModel, config: TeachingConfig) -> Optimizer:
    """Return Muon with AdamW for the embedded models, AdamW alone for demonstrations that a study names.

    A model that was trained with AdamW gains nothing from Muon (arXiv 2502.16982).
    """
    if isinstance(config, SupervisedConfig):
        return MuonWithAdamW(model, config.learning_rate, config.adamw_learning_rate)
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    return AdamW(learnt, lr=config.learning_rate, weight_decay=0.0)


def _make_arguments(
    config: TeachingConfig, steps: int, parts: int, out: Path, backbone: BackboneConfig | None
) -> TrainingArguments:
    held = backbone or BackboneConfig(source="embedded")
    return TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=config.problems_per_step // parts,
        gradient_accumulation_steps=parts,
        lr_scheduler_type="cosine",
        warmup_steps=min(20, steps // 5),
        # The caller has already shuffled the rows, so that their order does not depend on the trainer.
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        include_num_input_tokens_seen="non_padding",  # for the cost of the training
        seed=config.number,
        bf16=held.precision == "bfloat16",
        gradient_checkpointing=held.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if held.gradient_checkpointing else None,
        use_cpu=held.source == "embedded" or not torch.cuda.is_available(),
    )


def compute_next_token_loss(model: Any, batch: Batch, labels_of_step: torch.Tensor | None) -> torch.Tensor:
    """Return the loss on the labelled tokens; the head computes only positions from the first label of the part on.

    Args:
        model: A causal language model.
        batch: ``input_ids``, ``attention_mask`` and ``labels``, shape (B, T) each.
        labels_of_step: Number of labels in the whole step. The loss is the sum over this part, divided by this number.
    """
    from torch.nn.functional import cross_entropy

    learnt = (batch["labels"] != UNLABELLED).any(dim=0)
    first = max(int(learnt.int().argmax()), 1)
    labels = batch["labels"][:, first:]
    output = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=labels.shape[1] + 1,
        use_cache=False,
    )
    logits = output.logits[:, :-1].flatten(0, 1).float()
    total = cross_entropy(logits, labels.flatten(), ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum() if labels_of_step is None else total / labels_of_step
