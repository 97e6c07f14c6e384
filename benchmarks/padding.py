"""Measure the time that micro-batches sorted by length save in an update, on lengths of real solutions.

    python -m benchmarks.padding MODEL DATA [--layers 3] [--rounds 3]

MODEL is a folder of a pre-trained model with a tokenizer, of which the first layers are kept; DATA holds
``gsm8k/train.jsonl``, ``math500/test.jsonl`` and, with solutions that models wrote, ``processbench/{gsm8k,math}.json``.
First, columns passed for each real token, as TRL pads a step and as it is sorted and trimmed here. Then the update of
one step, timed: both trainers get the same rollouts (in place of sampling, solutions of problems drawn at random) and
rewards, and rounds alternate. Times are of the processor, one thread, so that a busy machine makes no difference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging
from trl.trainer.grpo_trainer import GRPOTrainer

from trainers.config import TrialConfig
from trainers.credit.arrays import FloatArray
from trainers.policy import PolicyTrainer, train_policy
from trainers.run import TrainRun

PROMPTS, GROUP, MICRO_BATCH = 16, 16, 16
TIMED = {"prompts_per_step": 4, "group_size": 16, "micro_batch": 8}
TARGET = 1.5
TEMPLATE = 40
"""Tokens of chat template and instruction around a problem, about."""

Lengths = tuple[int, int]
"""Tokens of a prompt and of a completion."""


def solutions(data: Path) -> dict[str, list[tuple[str, str]]]:
    """Return problems with a solution of each, by data set."""

    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (data / name).read_text(encoding="utf-8").splitlines()]

    pairs = {
        "GSM8K, people": [(row["question"], row["answer"]) for row in rows("gsm8k/train.jsonl")[:3000]],
        "MATH, people": [(row["problem"], row["solution"]) for row in rows("math500/test.jsonl")],
    }
    for name in ("gsm8k", "math"):
        written = json.loads((data / f"processbench/{name}.json").read_text(encoding="utf-8"))
        pairs[f"{name.upper()}, models"] = [(row["problem"], "\n\n".join(row["steps"])) for row in written]
    return pairs


def columns(rollouts: Sequence[Lengths], size: int) -> int:
    """Return the columns of micro-batches of `size` rollouts, each as wide as its longest."""
    parts = [rollouts[at : at + size] for at in range(0, len(rollouts), size)]
    return sum(len(part) * (max(p for p, _ in part) + max(c for _, c in part)) for part in parts)


def padding(lengths: Sequence[Lengths], rng: random.Random) -> str:
    """Return a row: columns for each real token as TRL pads, trimmed but not sorted, and sorted; and the gain."""
    real = padded = trimmed = ordered = 0
    for _ in range(20):
        step = []
        for _ in range(PROMPTS):
            prompt, _ = rng.choice(lengths)
            step += [(prompt, rng.choice(lengths)[1]) for _ in range(GROUP)]
        rng.shuffle(step)
        real += sum(map(sum, step))
        padded += columns(step, len(step))
        trimmed += columns(step, MICRO_BATCH)
        ordered += columns(sorted(step, key=sum, reverse=True), MICRO_BATCH)
    return f"{padded / real:.2f} | {trimmed / real:.2f} | {ordered / real:.2f} | {padded / ordered:.2f}"


class Given(PolicyTrainer):
    """Takes solutions in place of sampling them, rewards each second one, and times the update."""

    solutions: tuple[list[int], ...] = ()
    seconds = 0.0

    def reward(self) -> FloatArray:
        return np.arange(len(self.problems)) % 2.0

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        Given.seconds = -time.process_time()
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            Given.seconds += time.process_time()
        super().log(logs, start_time)

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        rng = random.Random(self.state.global_step)
        return [rng.choice(self.solutions) for _ in prompt_ids], None


class Padded(Given):
    """The same, in TRL's own micro-batches."""

    _prepare_inputs = GRPOTrainer._prepare_inputs
    _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies
    _compute_loss = GRPOTrainer._compute_loss


def updates(kind: type[Given], start: Path, out: Path, config: TrialConfig) -> dict[str, float]:
    """Train one step; return its record."""
    records: list[dict[str, Any]] = []
    run = TrainRun(
        config=config,
        seed=0,
        start=str(start),
        out=out / "checkpoints",
        model=out / "model",
        rollouts=out / "rollouts",
        record=records.append,
    )
    train_policy(run, kind, "blank_lines")
    return records[0]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    sets = solutions(arguments.data)
    print(f"columns a token, {PROMPTS} × {GROUP} rollouts in micro-batches of {MICRO_BATCH}")
    print("| solutions of | median, longest | as TRL pads | trimmed | sorted and trimmed | gain |")
    print("|---|---|---|---|---|---|")
    for name, pairs in sets.items():
        tokens = [(len(tokenizer(p).input_ids) + TEMPLATE, len(tokenizer(s).input_ids) + 1) for p, s in pairs]
        answers = sorted(answer for _, answer in tokens)
        print(f"| {name} | {statistics.median(answers):.0f}, {answers[-1]} | {padding(tokens, random.Random(0))} |")

    end = [tokenizer.eos_token_id]
    Given.solutions = tuple(tokenizer(answer).input_ids + end for _, answer in sets["GSM8K, people"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = AutoModelForCausalLM.from_pretrained(arguments.model, num_hidden_layers=arguments.layers)
        model.to(torch.float32).save_pretrained(folder / "start")
        tokenizer.save_pretrained(folder / "start")
        backbone = {"source": "hub", "model": str(folder / "start"), "template": "chat"}
        (folder / "small.yaml").write_text(json.dumps(backbone))
        os.environ |= {"CAPO_BENCH_BACKBONES": str(folder), "CAPO_BENCH_DATA": str(arguments.data)}
        train = {**TIMED, "steps": 1, "learning_rate": 1e-12, "max_completion_tokens": 512}
        config = TrialConfig.model_validate(
            {"method": "grpo_rule", "backbone": "small", "benchmark": "gsm8k", "cold_start": None, "train": train}
        )
        times: dict[str, list[float]] = {"padded": [], "sorted": []}
        for number in range(arguments.rounds):
            for way, kind in (("padded", Padded), ("sorted", Given)):
                record = updates(kind, folder / "start", folder / f"{way}{number}", config)
                times[way].append(Given.seconds)
                print(f"{way}: {Given.seconds:.1f} s, gradient norm {record['grad_norm']:.6f}", flush=True)
    medians = {way: statistics.median(seconds) for way, seconds in times.items()}
    gain = medians["padded"] / medians["sorted"]
    print(f"update {medians['padded']:.1f} s padded, {medians['sorted']:.1f} s sorted: {gain:.2f}, target {TARGET}")


if __name__ == "__main__":
    main()
