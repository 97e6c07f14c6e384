"""The first twenty minutes on a GPU: train, be killed, go on, evaluate, train a second trial; then what it all took.

    python -m benchmarks.gpu_smoke POLICY CRITIC DATA [--home gpu-smoke] [--device cuda] [--steps 3]

POLICY is a folder with a pre-trained model of about half a billion parameters, CRITIC one with a small instruct model
(each with tokenizer and chat template), DATA a folder with ``gsm8k/train.jsonl`` and ``gsm8k/test.jsonl``: no hub is
asked, so packages and weights may come from a disk. On ``cuda`` vLLM samples the rollouts and answers the evaluation,
and the harness serves the critic through vLLM on the same GPU. On ``cpu`` Transformers does all three, which shows that
this script works and nothing of a GPU; let the models be tiny there.

The run is killed with its whole process group once a checkpoint is there, and the same command is given again. What
must hold is checked, and the first thing that does not ends the script. Then come tables for `docs/measurements.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from capo_bench.store.home import Home, TrialFolder, read_json
from capo_bench.study.load import load_plan
from capo_bench.study.plan import Trial
from trainers.backbones import OWN_FOLDER
from trainers.checkpoints import MARK

STUDY = "gpu_smoke"
PARTS = ("seconds_generate", "critic_wait", "seconds_verify", "seconds_update", "seconds")
PATIENCE = 1200
"""Seconds until the first checkpoint has to be there: vLLM compiles before."""


def backbone(policy: Path, cuda: bool) -> dict[str, Any]:
    """Return the policy's YAML."""
    settings = {"source": "hub", "model": str(policy), "template": "chat", "micro_batch": 8}
    if not cuda:
        return settings
    return {
        **settings,
        "precision": "bfloat16",
        "gradient_checkpointing": True,
        "vllm": {"mode": "colocate", "memory": 0.3, "sleep": True},
    }


def study(arguments: argparse.Namespace, cuda: bool) -> dict[str, Any]:
    """Return the study: CAPO, and GRPO-Rule as the second trial of the same run."""
    model, tokens = str(arguments.critic), arguments.tokens
    served = {"name": "openai", "model": model, "max_tokens": 2 * tokens, "concurrency": 64}
    share = {"gpus": 0, "gpu_memory_utilization": 0.3, "max_model_len": 4096}
    critic = {**served, "serve": share} if cuda else {"name": "transformers", "model": model, "max_tokens": tokens}
    evaluation = {"tasks": ["gsm8k"], "problems": arguments.problems, "max_completion_tokens": tokens}
    base = {
        "backbone": "smoke",
        "benchmark": "gsm8k",
        "cold_start": None,
        "critic": critic,
        # Small critics say little of use: that is no reason to stop here.
        "credit": {"critiques": 2, "max_abstained": 1.0},
        "train": {
            "steps": arguments.steps,
            "prompts_per_step": arguments.prompts,
            "group_size": 8,
            "learning_rate": 1e-6,
            "max_completion_tokens": tokens,
        },
        "evaluation": {**evaluation, "backend": "vllm" if cuda else "hf", "data_dir": str(arguments.data)},
    }
    include = [{"name": name, "set": {"method": name}} for name in ("capo", "grpo_rule")]
    question = "Does a trial on a GPU train, survive a kill, and measure itself?"
    metrics = ["gsm8k/accuracy"]
    return {
        "name": STUDY,
        "question": question,
        "baseline": "grpo_rule",
        "metrics": metrics,
        "base": base,
        "include": include,
        "seeds": [0],
    }


def command(file: Path, home: Path) -> list[str]:
    """Return the command of the run: one trial at a time, a checkpoint after every step."""
    run = [sys.executable, "-m", "capo_bench", "run", str(file), "--home", str(home), "--workers", "1"]
    return [*run, "--checkpoint-every", "0s", "--no-tracking"]


def run_until_killed(given: list[str], trial: TrialFolder) -> None:
    """Start a run and kill its process group when its first trial has a checkpoint."""
    process = subprocess.Popen(given, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while not (trial.checkpoints / MARK).exists():
        check(process.poll() is None, f"the run goes on until its first checkpoint; see {trial.log}")
        check(time.monotonic() < deadline, f"the first checkpoint comes within {PATIENCE} s; see {trial.log}")
        time.sleep(0.1)
    check(not trial.model.exists(), "the kill comes before training ends (give it more --steps)")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def steps_of(trial: TrialFolder) -> list[dict[str, Any]]:
    """Return the records of a trial's steps."""
    return [json.loads(line) for line in trial.steps.read_text(encoding="utf-8").splitlines()]


def check(holds: bool, what: str) -> None:
    """End the script where something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


def throughput(name: str, steps: list[dict[str, Any]]) -> str:
    """Return a row of the table of tokens a second; the first step, which warms up, is left out if there are more."""
    counted = steps[1:] or steps

    def rate(tokens: str, seconds: str) -> str:
        total = sum(step.get(seconds, 0.0) for step in counted)
        return f"{sum(step.get(tokens, 0.0) for step in counted) / total:,.0f}" if total else "-"

    for step in counted:
        step["trained"] = step["policy_tokens"] + step["policy_prompt_tokens"]
    sampling, update = rate("policy_tokens", "seconds_generate"), rate("trained", "seconds_update")
    return f"| {name} | {sampling} | {update} | {rate('critic_tokens', 'seconds_critique')} |"


def breakdown(name: str, steps: list[dict[str, Any]]) -> str:
    """Return a row of the table of a step's seconds."""
    counted = steps[1:] or steps
    medians = (statistics.median(step.get(part, 0.0) for step in counted) for part in PARTS)
    return f"| {name} | {' | '.join(f'{median:.2f}' for median in medians)} |"


def print_tables(home: Home, trials: list[Trial]) -> None:
    """Print the tables."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, no GPU"
    print(f"\n{device}, torch {torch.__version__}\n")
    steps = {trial.variant: steps_of(home.trial(trial.id)) for trial in trials}
    print("| tokens a second | sampling | update, prompts too | critic, read and written |\n|---|---:|---:|---:|")
    print("\n".join(throughput(name, rows) for name, rows in steps.items()))
    print("\n| seconds of a step (median) | sampling | waiting for the critic | verifying | update | all |")
    print("|---|---:|---:|---:|---:|---:|")
    print("\n".join(breakdown(name, rows) for name, rows in steps.items()))
    for trial in trials:
        print(f"\n{trial.variant}: {json.dumps(read_json(home.trial(trial.id).metrics)['metrics'])[:400]}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("policy", type=Path)
    parser.add_argument("critic", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--home", type=Path, default=Path("gpu-smoke"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--problems", type=int, default=64)
    arguments = parser.parse_args()
    for name in ("policy", "critic", "data", "home"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    cuda = arguments.device == "cuda"
    check(cuda == torch.cuda.is_available(), f"--device {arguments.device} is what torch {torch.__version__} sees")
    check(not arguments.home.exists(), f"{arguments.home} is not there yet: this shows a run from nothing")
    arguments.home.mkdir(parents=True)
    (arguments.home / "smoke.yaml").write_text(json.dumps(backbone(arguments.policy, cuda)))
    os.environ |= {
        OWN_FOLDER: str(arguments.home),
        "CAPO_BENCH_DATA": str(arguments.data),
        "HF_HUB_OFFLINE": "1",
    }
    file, home = arguments.home / "study.yml", Home(arguments.home / "results")
    file.write_text(json.dumps(study(arguments, cuda)))
    trials = list(load_plan(file).trials)
    given, first = command(file, home.path), home.trial(trials[0].id)
    began = time.monotonic()
    run_until_killed(given, first)
    before = steps_of(first)
    print(f"killed after {len(before)} steps, {time.monotonic() - began:.0f} s from the start", flush=True)
    code = subprocess.run(given, check=False).returncode
    check(code == 0, f"the same command goes on and ends with 0, not {code}")
    check(all(home.trial(trial.id).done for trial in trials), "both trials are done")
    for trial in trials:
        numbers = [step["step"] for step in steps_of(home.trial(trial.id))]
        check(numbers == [*range(1, arguments.steps + 1)], f"{trial.variant} has each step once: {numbers}")
    check(steps_of(first)[0] == before[0], "the step before the checkpoint was not trained again")
    print(f"all done after {time.monotonic() - began:.0f} s")
    print_tables(home, trials)


if __name__ == "__main__":
    main()
