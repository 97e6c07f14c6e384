"""Homes that look like the ones a run leaves: every file in the documented form, numbers drawn from known truths."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capo_bench.store.home import Home, TrialFolder, write_json
from capo_bench.study.load import load_plan
from capo_bench.study.plan import Plan, Trial
from evals.coins import COINS
from evals.harness.folder import Asked, TaskRecord, write_task
from evals.metrics import summarize
from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.rollouts import Rollout, write_step

STUDY = """
name: fake
question: Which vote trains the better policy?
baseline: grpo_rule
start: cold_start
metrics: [coins_test/accuracy, coins_test/wrong_step_rate]
base: {method: capo, evaluation: {problems: 64, tasks: [coins_test]}}
include:
  - {name: cold_start, set: {method: sft}}
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: intersection, set: {credit.vote: intersection}}
  - {name: majority, set: {credit.vote: majority}}
seeds: [0, 1, 2]
"""


@dataclass(frozen=True)
class Truth:
    """What a variant is truly like."""

    right: float
    slip: float = 0.2
    steps: int = 6
    wall: float = 60.0
    critic_tokens: int = 0
    abstained: int = 0


TRUTHS = {
    "cold_start": Truth(0.35, slip=0.40, wall=4.0),
    "grpo_rule": Truth(0.45, slip=0.35),
    "intersection": Truth(0.80, slip=0.12, wall=66.0, critic_tokens=900_000, abstained=64),
    "majority": Truth(0.47, slip=0.33, steps=4, wall=64.0, critic_tokens=900_000),
}

PROVENANCE: dict[str, Any] = {
    "git": {"commit": "c56f98b", "dirty": False},
    "packages": {"torch": "2.13.0", "trl": "1.16.0"},
    "hardware": {"cpu": "x86-64", "cores": 2, "gpus": []},
    "python": "3.11.2",
    "fingerprints": {"benchmark": "ab12", "final_weights": "0a0a"},
}


@dataclass
class FakeHome:
    """A results folder that fills itself."""

    path: Path
    study: str = STUDY
    truths: dict[str, Truth] = field(default_factory=lambda: dict(TRUTHS))
    problems: int = 64

    @property
    def home(self) -> Home:
        return Home(self.path / "results")

    def plan(self, **options: Any) -> Plan:
        file = self.path / "study.yaml"
        file.write_text(self.study, encoding="utf-8")
        return load_plan(file, **options)

    def finish(self, *variants: str, seeds: tuple[int, ...] = (0, 1, 2)) -> FakeHome:
        """Leave what finished trials leave; of all variants unless some are named."""
        for trial in self.plan().trials:
            if trial.seed in seeds and (not variants or trial.variant in variants):
                self.write(trial)
        return self

    def write(self, trial: Trial) -> TrialFolder:
        folder, truth = self.home.trial(trial.id), self.truths[trial.variant]
        rng = random.Random(f"{trial.variant}/{trial.seed}")
        drawn = random.Random(f"{trial.variant}/{trial.seed}/sampled")
        samples = [self.sample(problem, truth, rng) for problem in range(self.problems)]
        samples += [
            {**self.sample(problem, truth, drawn), "decoding": "sampled", "sample": number}
            for problem in range(self.problems)
            for number in range(4)
        ]
        steps = [] if trial.variant == "cold_start" else curve(truth, rng)
        write_lines(folder.samples("coins_test"), samples)
        asked = tuple(Asked(problem, problem.prompt) for problem in COINS.problems("test", self.problems))
        write_task(folder.completions("coins_test"), TaskRecord({"task": "coins_test"}, "drawn", "coins", 0.0, asked))
        write_lines(folder.steps, steps)
        write_json(folder.config, trial.as_json())
        clock = {"started": f"2026-11-0{trial.seed + 1}T10:00:00Z", "finished": "2026-11-09T10:00:00Z"}
        write_json(folder.provenance, {**PROVENANCE, **clock})
        metrics = {f"coins_test/{name}": value for name, value in summarize(samples).items()}
        write_json(folder.metrics, {"metrics": metrics, "cost": cost(truth, rng)})
        if trial.config.method == "capo":
            for step in (1, 2):
                write_step(
                    folder.rollouts,
                    step,
                    0,
                    self.rollouts(trial, truth, random.Random(f"{trial.variant}/{trial.seed}/{step}")),
                )
        return folder

    def sample(self, problem: int, truth: Truth, rng: random.Random) -> dict[str, Any]:
        hard = random.Random(problem).uniform(-0.2, 0.2)  # a problem is as hard for every variant and seed
        right = rng.random() < truth.right + hard
        wrong = [step for step in range(truth.steps) if rng.random() < truth.slip * (0.3 if right else 1.3)]
        lines = [f"{step}+1={step + 1 + (step in wrong)}" for step in range(truth.steps)]
        return {
            "problem": f"coins/test/0/{problem}",
            "decoding": "greedy",
            "sample": 0,
            "completion": "\n\n".join(lines),
            "correct": right,
            "status": "right" if right else "wrong",
            "answer": "7" if right else str(len(wrong)),
            "tokens": 7 * truth.steps + rng.randint(0, 3),
            "truncated": False,
            "steps": truth.steps,
            "wrong_steps": wrong,
            "follow_steps": [step for step in range(truth.steps) if wrong and step > wrong[0] and step not in wrong],
        }

    def rollouts(self, trial: Trial, truth: Truth, rng: random.Random) -> list[Rollout]:
        """Return two groups with critics that miss every fifth wrong step and flag every tenth right one."""
        found = []
        for row in range(2 * trial.config.train.group_size):
            wrong = [rng.random() < truth.slip for _ in range(truth.steps)]
            group = row // trial.config.train.group_size
            found.append(
                Rollout(
                    group=group,
                    problem=f"coins/train/{trial.seed}/{group}",
                    prompt="…",
                    answer="7",
                    steps=tuple(f"{step}+1={step + 1 + slipped}" for step, slipped in enumerate(wrong)),
                    tokens=(7,) * truth.steps,
                    outcome=float(not any(wrong)),
                    truth=frozenset(step for step, slipped in enumerate(wrong) if slipped),
                    critiques=tuple(critique(wrong, rng) for _ in range(trial.config.credit.critiques)),
                )
            )
        return found


def critique(wrong: list[bool], rng: random.Random) -> Critique:
    """Return one critique, which abstains now and then."""
    if rng.random() < 0.02:
        return Critique(None, "truncated", "Step 1 is")
    flags = [rng.random() < (0.8 if slipped else 0.1) for slipped in wrong]
    return Critique(frozenset(step for step, flag in enumerate(flags) if flag), text="…", usage=Usage(120, 60, 30, 0.5))


def curve(truth: Truth, rng: random.Random) -> list[dict[str, Any]]:
    """Return step records whose outcome climbs from the start's to the truth."""
    start = TRUTHS["cold_start"].right
    return [
        {
            "step": step + 1,
            "seconds": 1.0,
            "policy_tokens": 5600.0,
            "total_tokens": 5600.0 + truth.critic_tokens / 50,
            "outcome": start + (truth.right - start) * step / 50 + rng.gauss(0, 0.04),
            "steps_per_response": float(truth.steps),
        }
        for step in range(50)
    ]


def cost(truth: Truth, rng: random.Random) -> dict[str, Any]:
    """Return a trial's costs."""
    return {
        "wall_seconds": truth.wall * rng.uniform(0.95, 1.05),
        "train_seconds": truth.wall * 0.8,
        "train_cpu_seconds": truth.wall * 1.6,
        "policy_tokens": 280_000 if truth.wall > 10 else 0,
        "critic_tokens": truth.critic_tokens,
        "critiques": 25_600 if truth.critic_tokens else 0,
        "abstained": truth.abstained,
        "critic_prompt_tokens": truth.critic_tokens * 4 // 5,
        "critic_cached_tokens": truth.critic_tokens * 2 // 5,
        "critic_output_tokens": truth.critic_tokens // 5,
        "critiques_reused": 256 if truth.critic_tokens else 0,
        "critique_seconds": 20.0 if truth.critic_tokens else 0.0,
        "critic_wait_seconds": 5.0 if truth.critic_tokens else 0.0,
    }


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """Write a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
