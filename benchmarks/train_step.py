"""CAPO's step, with the exact and with the embedded critic, against TRL's plain GRPO step on the same rollouts.

    python -m benchmarks.train_step [--steps 16] [--rounds 3] [--taught FOLDER]

All train the same start with a learning rate of practically zero and the same seed, so they sample the same rollouts at
every step. Rounds alternate; the first step of each is left out. Start and critic are taught first, which takes
minutes, into the folder if one is named, and taken from there the next time. Prints the median step of each and the
ratios, by the clock and in processor time, which other work on the machine changes less.
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

from evals.clock import process_seconds
from evals.coins import COINS
from evals.verify.answers import read_boxed
from trainers import capo
from trainers.backbones import BACKBONES
from trainers.cold_start import train_cold_start
from trainers.config import ColdStartConfig, TrialConfig
from trainers.critics.base import EmbeddedCriticConfig
from trainers.critics.embedded import train_critic
from trainers.policy import _load_problems, build_settings
from trainers.run import TrainRun

TARGETS = {"exact": 1.05, "embedded": 1.6}
CRITICS = {
    "exact": {"name": "exact"},
    "embedded": {"name": "transformers", "max_tokens": 160, "temperature": 0.7},
}


Taken = tuple[float, float]
"""Seconds of a step, by the clock and of processor time."""


class Clock(TrainerCallback):
    """Takes the time of every step."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter(), process_seconds()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        began, worked = self.began
        self.taken.append((time.perf_counter() - began, process_seconds() - worked))


def equal(completions: list[str], answer: list[str], **_: Any) -> list[float]:
    return [float(read_boxed(text) == gold) for text, gold in zip(completions, answer, strict=True)]


def plain(run: TrainRun) -> list[Taken]:
    backbone, clock = BACKBONES.load("tiny"), Clock()
    tokenizer = AutoTokenizer.from_pretrained(run.start, padding_side="left")
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(run.start),
        reward_funcs=[equal],
        args=build_settings(run, backbone),
        train_dataset=_load_problems(run, COINS, backbone, tokenizer),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.taken[1:]


def ours(run: TrainRun) -> list[Taken]:
    records: list[dict[str, Any]] = []
    capo.train(replace(run, record=records.append))
    return [(record["seconds"], record["cpu_seconds"]) for record in records[1:]]


def teach(folder: Path) -> None:
    """Make the start and the embedded critic, unless the folder has them."""
    if not (folder / "start").exists():
        train_cold_start(BACKBONES.load("tiny"), ColdStartConfig(), folder / "start", lambda record: None)
    if not (folder / "critic").exists():
        train_critic(EmbeddedCriticConfig(), folder / "critic", lambda record: None)


def prepare(taught: Path, out: Path, critic: str, seed: int, steps: int) -> TrainRun:
    config = TrialConfig.model_validate(
        {
            "train": {"steps": steps, "learning_rate": 1e-12},
            "critic": CRITICS[critic],
            "credit": {"critiques": 4, "vote": "majority"},
        }
    )
    return TrainRun(
        config=config,
        seed=seed,
        start=str(taught / "start"),
        out=out / "checkpoints",
        model=out / "model",
        rollouts=out / "rollouts",
        record=lambda record: None,
        critic=taught / "critic",
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--taught", type=Path)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    times: dict[str, list[Taken]] = {"grpo": [], **{critic: [] for critic in CRITICS}}
    with tempfile.TemporaryDirectory() as name:
        taught = arguments.taught or Path(name)
        teach(taught)
        for seed in range(arguments.rounds):
            times["grpo"] += plain(prepare(taught, Path(name) / f"grpo-{seed}", "exact", seed, arguments.steps))
            for critic in CRITICS:
                out = Path(name) / f"{critic}-{seed}"
                times[critic] += ours(prepare(taught, out, critic, seed, arguments.steps))
    grpo = medians(times["grpo"])
    print(f"medians of {len(times['grpo'])} steps each, by the clock and of processor time")
    print(f"TRL's GRPO step: {grpo[0]:.3f} s, {grpo[1]:.3f} s")
    for critic, target in TARGETS.items():
        step = medians(times[critic])
        ratios = ", ".join(f"{ours / theirs:.2f}" for ours, theirs in zip(step, grpo, strict=True))
        print(f"CAPO's, {critic} critic, k = 4: {step[0]:.3f} s, {step[1]:.3f} s, ratios {ratios}, target {target}")


def medians(steps: list[Taken]) -> Taken:
    return statistics.median(step[0] for step in steps), statistics.median(step[1] for step in steps)


if __name__ == "__main__":
    main()
