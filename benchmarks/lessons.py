"""What the models that trials share learn in how many steps, by Muon with AdamW and by AdamW alone; one thread.

    python -m benchmarks.lessons --steps 280 --only critic

The loss is that of lessons that were not taught, of a seed of their own. Seconds are of the processor, so that what
else the machine does counts little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForTokenClassification
from transformers.utils import logging

import trainers.lessons
from capo_bench.run.threads import EMBEDDED_THREADS, set_threads
from trainers import Emit
from trainers.backbones import BACKBONES
from trainers.cold_start import _draw_demonstrations, train_cold_start
from trainers.config import ColdStartConfig
from trainers.critics.base import EmbeddedCriticConfig
from trainers.critics.embedded import _draw_lessons, train_critic
from trainers.lessons import BETAS, MuonWithAdamW, compute_next_token_loss
from trainers.sft import sort_by_length, tokenize
from trainers.teaching import UNLABELLED, SupervisedConfig

HELD_OUT = {"seed": 977, "steps": 16}
ADAMW_RATE = 3e-3
"""The best for AdamW alone, of 3e-3 and 8e-3."""


@dataclass(frozen=True)
class Model:
    """How a shared model is taught, and what its lessons are."""

    config: type[SupervisedConfig]
    train: Callable[[Any, Path, Emit], None]
    lessons: Callable[[Any], Iterator[tuple[str, str]]]


MODELS = {
    "start": Model(ColdStartConfig, partial(train_cold_start, BACKBONES.load("tiny")), _draw_demonstrations),
    "critic": Model(EmbeddedCriticConfig, train_critic, _draw_lessons),
}


def only_adamw(model: Any, *_: float) -> AdamW:
    return AdamW(model.parameters(), lr=ADAMW_RATE, betas=BETAS, weight_decay=0.0)


OPTIMIZERS: dict[str, Any] = {"muon": MuonWithAdamW, "adamw": only_adamw}


def measure(model: Model, steps: int) -> tuple[float, float]:
    """Return the loss on lessons that were not taught, and the processor's seconds of the teaching."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.train(model.config(steps=steps), folder, lambda _: None)
        took = time.process_time() - began
        return held_out_loss(folder, list(model.lessons(model.config(**HELD_OUT)))), took


@torch.no_grad()
def held_out_loss(folder: Path, lessons: Sequence[tuple[str, str]]) -> float:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    collate, total, labels = DataCollatorForTokenClassification(tokenizer), 0.0, 0
    for at in range(0, len(lessons), 64):
        batch = collate(sort_by_length(tokenize(tokenizer, lessons[at : at + 64]), 64))
        total += compute_next_token_loss(model, batch, torch.tensor(1)).item()
        labels += int((batch["labels"] != UNLABELLED).sum())
    return total / labels


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, nargs="+", default=[120, 240])
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--optimizers", choices=OPTIMIZERS, nargs="+", default=list(OPTIMIZERS))
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    set_threads(EMBEDDED_THREADS)
    for name in arguments.only:
        for optimizer in arguments.optimizers:
            trainers.lessons.MuonWithAdamW = OPTIMIZERS[optimizer]
            for steps in arguments.steps:
                loss, took = measure(MODELS[name], steps)
                print(f"{name}, {optimizer}, {steps} steps: loss {loss:.4f}, {took:.0f} s of one core", flush=True)


if __name__ == "__main__":
    main()
