"""Trials that stored rollouts: one worked by hand, and a small study of them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.store.home import Home, TrialFolder, write_json
from capo_bench.study.load import load_plan
from capo_bench.study.plan import Plan, Trial
from capo_bench.verify.training import compute_credit_numbers
from trainers.config import TrialConfig
from trainers.credit.critique import Critique
from trainers.rollouts import Rollout, StoredStep, write_step


def says(*wrong: int) -> Critique:
    return Critique(frozenset(wrong))


ABSTAINS = Critique(None, "truncated")


def rollout(group: int, tokens: tuple[int, ...], outcome: float | None, truth: Any, *critiques: Critique) -> Rollout:
    steps = tuple(f"step {place}" for place in range(len(tokens)))
    return Rollout(group, f"p{group}", "?", "7", steps, tokens, outcome, truth, "steps", critiques)


HAND = [
    rollout(0, (2, 1), 1.0, frozenset({1}), says(1), says(0, 1)),
    rollout(0, (1,), 0.0, frozenset(), says(), says(0)),
    rollout(1, (1, 1), 0.0, frozenset({0}), says(0), ABSTAINS),
    rollout(1, (2,), 0.0, frozenset(), says(), says()),
]
"""Two groups of two, eight tokens, two critiques a rollout, one of which abstained."""


def config(vote: str = "intersection", critiques: int = 2, **changes: Any) -> TrialConfig:
    """Return the settings of a trial with groups of two."""
    credit = {"vote": vote, "critiques": critiques, **changes}
    return TrialConfig.model_validate({"train": {"steps": 1, "prompts_per_step": 2, "group_size": 2}, "credit": credit})


STUDY = """
name: stored
question: Which vote?
baseline: grpo_rule
metrics: [coins_test/accuracy]
base:
  method: capo
  critic: {name: noisy}
  credit: {critiques: 4}
  train: {steps: 3, prompts_per_step: 2, group_size: 4}
include:
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: union, set: {credit.vote: union}}
  - {name: majority, set: {credit.vote: majority}}
  - {name: exact, set: {critic: {name: exact}, credit.critiques: 1}}
seeds: [0, 1]
"""


@dataclass
class StoredHome:
    """A results folder of a study whose trials stored random rollouts."""

    path: Path
    study: str = STUDY

    @property
    def home(self) -> Home:
        return Home(self.path / "results")

    @property
    def file(self) -> Path:
        file = self.path / "stored.yaml"
        file.write_text(self.study, encoding="utf-8")
        return file

    def plan(self) -> Plan:
        return load_plan(self.file)

    def trial(self, variant: str, seed: int = 0) -> tuple[Trial, TrialFolder]:
        trial = next(t for t in self.plan().trials if (t.variant, t.seed) == (variant, seed))
        return trial, self.home.trial(trial.id)

    def finish(self, *variants: str) -> StoredHome:
        """Leave what finished trials leave; of all variants unless some are named."""
        for trial in self.plan().trials:
            if not variants or trial.variant in variants:
                self.write(trial)
        return self

    def write(self, trial: Trial) -> None:
        folder = self.home.trial(trial.id)
        if trial.config.method in {"capo", "first_error"}:
            records = [self.step(trial, folder, number) for number in (1, 2, 3)]
            folder.steps.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        write_json(folder.config, trial.as_json())
        write_json(folder.metrics, {"metrics": {"coins_test/accuracy": 0.5}, "cost": {}})

    def step(self, trial: Trial, folder: TrialFolder, number: int) -> dict[str, Any]:
        rng = random.Random(f"{trial.variant}/{trial.seed}/{number}")
        rows = [random_rollout(rng, row // 4, trial.config.credit.critiques) for row in range(8)]
        write_step(folder.rollouts, number, 0, rows)
        return {"step": number, **compute_credit_numbers(trial.config, StoredStep(number, (tuple(rows),)))[0]}


def random_rollout(rng: random.Random, group: int, critiques: int) -> Rollout:
    """Return a rollout whose critics miss and flag as chance has it."""
    wrong = [rng.random() < 0.4 for _ in range(rng.randint(1, 5))]
    said = []
    for _ in range(critiques):
        flags = [rng.random() < (0.8 if slipped else 0.2) for slipped in wrong]
        said.append(says(*(step for step, flag in enumerate(flags) if flag)) if rng.random() < 0.9 else ABSTAINS)
    tokens = tuple(rng.randint(1, 6) for _ in wrong)
    truth = frozenset(step for step, slipped in enumerate(wrong) if slipped)
    return rollout(group, tokens, float(rng.random() < 0.5), truth, *said)
