"""A trainer that does not train, and one batch for its loss: for the tests of methods and of the seam with TRL."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.coins import COINS
from evals.verify import Verifier
from trainers.backbones import BACKBONES
from trainers.policy import PolicyTrainer, _load_problems, build_settings
from trainers.run import TrainRun


def trainer_of(kind: type[PolicyTrainer], run: TrainRun, **extra: Any) -> Any:
    """Return a method's trainer as `train_policy` makes it."""
    backbone = BACKBONES.load("tiny")
    tokenizer = AutoTokenizer.from_pretrained(run.start, padding_side="left")
    return kind(
        config=run.config,
        segmenter="blank_lines",
        benchmark=COINS,
        verifier=Verifier(),
        tokenizer=tokenizer,
        rollouts=run.rollouts,
        model=AutoModelForCausalLM.from_pretrained(run.start),
        args=build_settings(run, backbone, kind),
        train_dataset=_load_problems(run, COINS, backbone, tokenizer),
        **extra,
    )


def batch(trainer: Any, lengths: tuple[int, ...]) -> dict[str, Any]:
    """Return a batch of random prompts of 5 tokens and completions of the given lengths."""
    drawn = torch.Generator().manual_seed(0)
    width = max(lengths)
    mask = (torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]).long()
    vocabulary = len(trainer.tokenizer)
    return {
        "prompt_ids": torch.randint(2, vocabulary, (len(lengths), 5), generator=drawn),
        "prompt_mask": torch.ones(len(lengths), 5, dtype=torch.long),
        "completion_ids": torch.randint(2, vocabulary, (len(lengths), width), generator=drawn),
        "completion_mask": mask,
        "num_items_in_batch": mask.sum(),
    }


def loss_and_gradient(trainer: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a batch and its gradient, flat."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
