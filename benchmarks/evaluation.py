"""Measure the overhead of the evaluation over the model's generation, and the time to the first batch.

    python -m benchmarks.evaluation [--rounds 5] [--problems 128] [--samples 4]

The model is the embedded one with random weights: its batches are the shortest, so this is the worst case. The time of
`generate` is compared with the time of its calls of `Model.complete` in the same run: the difference is prompts, order,
JSON and the disk. Then `capo-bench eval` runs on coins as for a user, and the time to the first batch on disk is
measured. A busy machine gives no useful figures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evals.coins import COINS
from evals.harness.generate import Asker, generate
from evals.harness.tasks import EvalTask, load_tasks
from evals.models.base import Completion, Model, Sampling
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer, save


def make_model(folder: Path) -> str:
    tokenizer = build_tokenizer([problem.prompt for problem in COINS.problems("train", 64)])
    save(build_model(BackboneConfig(source="embedded"), tokenizer, seed=0), tokenizer, folder)
    return str(folder)


class Timed:
    """A model that adds up the seconds of its completions."""

    eager = False

    def __init__(self, model: Model) -> None:
        self._model = model
        self.positions, self.batch = model.positions, model.batch
        self.prompt, self.check, self.identity = model.prompt, model.check, model.identity
        self.encode, self.prefix, self.score, self.close = model.encode, model.prefix, model.score, model.close
        self.seconds = 0.0

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        began = time.perf_counter()
        try:
            return await self._model.complete(prompts, n, sampling, seed=seed, first=first)
        finally:
            self.seconds += time.perf_counter() - began


def overhead(task: EvalTask, model: Model, arguments: argparse.Namespace, folder: Path) -> None:
    ratios = []
    for number in range(arguments.rounds + 1):
        timed = Timed(model)
        began = time.perf_counter()
        with asyncio.Runner() as runner:
            generate(task, Asker(timed, number, runner), folder / f"round-{number}")
        whole = time.perf_counter() - began
        if number:  # the first warms up
            ratios.append(whole / timed.seconds)
            print(f"generate {whole:.2f} s, of which the model's own {timed.seconds:.2f} s: {ratios[-1]:.4f}")
    print(f"ratio {statistics.median(ratios):.4f}")


def first_batch(model: str, home: Path) -> float:
    words = ["eval", model, "--suite", "coins", "--home", str(home), "--no-tracking"]
    command = [sys.executable, "-m", "capo_bench", *words]
    began = time.perf_counter()
    started = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while started.poll() is None:
            if any(path.stat().st_size for path in home.glob("evals/*/tasks/*/generations.jsonl")):
                return time.perf_counter() - began
            time.sleep(0.005)
    finally:
        started.kill()
        started.wait()
    raise RuntimeError(f"{' '.join(command)} ended with {started.returncode} before a batch was there")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = make_model(folder / "model")
        seconds = [first_batch(model, folder / f"home-{number}") for number in range(3)]
        print(f"first batch of coins on disk after {', '.join(f'{taken:.2f}' for taken in seconds)} s")
        (task,) = load_tasks(["coins_test"], limit=arguments.problems)
        task = replace(task, greedy=False, samples=arguments.samples)
        overhead(task, open_model(ModelSpec(model=model)), arguments, folder)


if __name__ == "__main__":
    main()
