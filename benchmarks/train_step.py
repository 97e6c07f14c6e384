"""CAPO's training step with the exact critic against TRL's plain GRPO step, on the same rollouts.

    python -m benchmarks.train_step [--steps 16] [--rounds 3]

Both train the same start with a learning rate of practically zero and the same seed, so both sample the same rollouts
at every step. Rounds alternate; the first step of each is left out. Prints the median step of each and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from transformers.utils import logging
from trl import GRPOTrainer

from evals.coins import COINS
from evals.verify.answers import boxed
from trainers import capo
from trainers.backbones import BACKBONES
from trainers.cold_start import train_cold_start
from trainers.config import ColdStartConfig, TrialConfig
from trainers.policy import _problems, settings
from trainers.run import TrainRun

TARGET = 1.05


class Clock(TrainerCallback):
    """Takes the wall time of every step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def equal(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    return [float(boxed(text) == gold) for text, gold in zip(completions, answer, strict=True)]


def plain(run: TrainRun) -> list[float]:
    backbone, clock = BACKBONES.load("tiny"), Clock()
    tokenizer = AutoTokenizer.from_pretrained(run.start, padding_side="left")
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(run.start),
        reward_funcs=[equal],
        args=settings(run, backbone),
        train_dataset=_problems(run, COINS, backbone, tokenizer),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.seconds[1:]


def ours(run: TrainRun) -> list[float]:
    records: list[dict[str, Any]] = []
    capo.train(replace(run, record=records.append))
    return [record["seconds"] for record in records[1:]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    config = TrialConfig.model_validate(
        {
            "train": {"steps": arguments.steps, "learning_rate": 1e-12},
            "critic": {"name": "exact"},
            "credit": {"critiques": 4, "vote": "majority"},
        }
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_cold_start(BACKBONES.load("tiny"), ColdStartConfig(steps=60), folder / "start", lambda record: None)
        times: dict[str, list[float]] = {"grpo": [], "capo": []}
        for number in range(arguments.rounds):
            out = folder / str(number)
            run = TrainRun(
                config=config,
                seed=number,
                start=str(folder / "start"),
                out=out / "checkpoints",
                model=out / "model",
                rollouts=out / "rollouts",
                record=lambda record: None,
            )
            times["grpo"] += plain(run)
            times["capo"] += ours(run)
    grpo, capo_step = statistics.median(times["grpo"]), statistics.median(times["capo"])
    print(f"TRL's GRPO step {grpo:.3f} s, CAPO's {capo_step:.3f} s (medians of {len(times['grpo'])} steps each)")
    print(f"ratio {capo_step / grpo:.3f}, target at most {TARGET}")


if __name__ == "__main__":
    main()
