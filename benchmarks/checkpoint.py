"""What a checkpoint of the embedded backbone costs: training steps with one after each of them, and without.

Run with ``python -m benchmarks.checkpoint``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers.utils import logging

from trainers.backbones import BACKBONES
from trainers.capo import CapoTrainer
from trainers.checkpoints import mark
from trainers.cold_start import train_cold_start
from trainers.config import ColdStartConfig, TrialConfig
from trainers.criticised import train_with_critic
from trainers.run import TrainRun

STEPS = 12


def main() -> None:
    """Train with a checkpoint after every step, and print how long they took and what they hold."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    saving: list[float] = []
    records: list[dict[str, Any]] = []

    began = 0.0

    class Timed(CapoTrainer):
        """Starts the clock when the trainer begins to save."""

        def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            nonlocal began
            began = time.perf_counter()
            super()._save_checkpoint(*args, **kwargs)

    def timed(folder: Path, step: int) -> None:
        mark(folder, step, step)
        saving.append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_cold_start(BACKBONES.load("tiny"), ColdStartConfig(steps=30), folder / "start", lambda record: None)
        config = TrialConfig.model_validate({"train": {"steps": STEPS}, "critic": {"name": "noisy"}})
        run = TrainRun(
            config=config,
            seed=0,
            start=str(folder / "start"),
            out=folder / "checkpoints",
            model=folder / "model",
            rollouts=folder / "rollouts",
            record=records.append,
        )
        with patch("trainers.policy.mark", timed):
            train_with_critic(replace(run, checkpoint_seconds=0), Timed)
        size = sum(path.stat().st_size for path in run.out.rglob("*") if path.is_file())
    step = statistics.median(record["seconds"] for record in records[1:])
    cost = statistics.median(saving)
    print(f"a checkpoint {cost:.3f} s (median of {len(saving)}), {size / 1e6:.1f} MB; a step {step:.2f} s")
    print(f"one after every step: {cost / step:.1%} of training; one every 300 s: {cost / 300:.4%}")


if __name__ == "__main__":
    main()
