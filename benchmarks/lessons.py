"""What it saves to teach the models that trials share in parts of like length: seconds a step, one thread.

    python -m benchmarks.lessons

Both ways alternate, so that what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from transformers.utils import logging

import trainers.sft
from capo_bench.run.threads import EMBEDDED_THREADS, set_threads
from trainers.backbones import BACKBONES
from trainers.backbones.cold_start import train_cold_start
from trainers.config import ColdStartConfig
from trainers.critics.base import EmbeddedCriticConfig
from trainers.critics.embedded import train_critic
from trainers.methods import Emit

WARM = 4
"""Steps that are not counted."""


def seconds_a_step(make: Callable[[Path, Emit], None]) -> float:
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), lambda _: ends.append(time.perf_counter()))
    return (ends[-1] - ends[WARM - 1]) / (len(ends) - WARM)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    set_threads(EMBEDDED_THREADS)
    lessons = {
        "cold start": partial(train_cold_start, BACKBONES.load("tiny"), ColdStartConfig(steps=arguments.steps)),
        "embedded critic": partial(train_critic, EmbeddedCriticConfig(steps=arguments.steps)),
    }
    parts = trainers.sft.PARTS
    for name, make in lessons.items():
        found: dict[int, list[float]] = {1: [], parts: []}
        for _ in range(arguments.rounds):
            for number, times in found.items():
                trainers.sft.PARTS = number
                times.append(seconds_a_step(make))
        whole, split = (statistics.median(times) for times in found.values())
        print(f"{name}: {whole:.3f} s a step as a whole, {split:.3f} s in {parts} parts, {whole / split:.2f} times")


if __name__ == "__main__":
    main()
