"""Trials with stored rollouts to look at: an ordinary one of each kind, and one whose every text is hostile."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

from capo_bench.store.home import Home, write_json
from capo_bench.study.load import load_plan
from capo_bench.study.plan import Plan, Trial
from capo_bench.verify.training import compute_credit_numbers
from evals.coins import COINS
from evals.harness.folder import Asked, TaskRecord, write_task
from trainers.credit.critique import Critique
from trainers.prm.scored import ScoredSolution
from trainers.rollouts import Rollout, StoredStep, write_step

STUDY = """
name: seen
question: What do the critics flag?
baseline: grpo_rule
start: cold_start
metrics: [coins_test/accuracy]
base:
  method: capo
  critic: {name: noisy}
  credit: {critiques: 4, vote: majority}
  train: {steps: 12, prompts_per_step: 2, group_size: 4}
include:
  - {name: cold_start, set: {method: sft}}
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: majority, set: {credit.vote: majority}}
  - {name: prm_sum, set: {method: prm_sum}}
seeds: [0]
"""

CUT_OFF = Critique(None, "truncated", "Step 1 is")
SILENT = Critique(None, "no_list", "I would rather not say.")
HOSTILE = (
    "</script><script>window.stolen = 1</script>",
    '<img src="http://127.0.0.1:9/x.png" onerror="window.stolen = 1">',
    "</span></div></article><style>body { display: none }</style>",
    '" onmouseover="window.stolen = 1" x="',
    "{{ 7 * 7 }} {% raw %} <!-- ]]> <svg/onload=window.stolen=1>",
    "right \u202eleft\u202c \u2066iso\u2069 nul \x00 esc \x1b[31m bell \x07 half \ud800 joined \ufeff",
    "Z" + "\u0301" * 400 + " marks",
    "😀 全角 עברית العربية 👩\u200d👩\u200d👧",
    "W" * 100_000,
)


def says(*wrong: int) -> Critique:
    """Return a critique that flags steps, counted from 0."""
    listed = ", ".join(str(step + 1) for step in sorted(wrong))
    return Critique(frozenset(wrong), text=f"Step by step:\nI looked.\n\nWrong steps: [{listed}]")


def rollout(group: int, texts: tuple[str, ...], outcome: float | None, wrong: set[int], *said: Critique) -> Rollout:
    """Return a rollout whose tokens are single characters of its steps, the blank lines between them and an end."""
    pieces = [[*text, "\n\n"] for text in texts]
    pieces[-1][-1] = ""
    return Rollout(
        group=group,
        problem=f"coins/train/0/{group}",
        prompt=f"Ann has {group} coins. How many?\n",
        answer="7",
        steps=texts,
        tokens=tuple(len(step) for step in pieces),
        outcome=outcome,
        truth=frozenset(wrong),
        critiques=said,
        pieces=tuple(piece for step in pieces for piece in step),
    )


def ordinary(rng: random.Random) -> list[Rollout]:
    """Return two groups of four: one with right and wrong answers, one with none right."""
    extra = str(rng.randint(0, 9))
    return [
        rollout(0, ("3 + 4 = 7", "\\boxed{7}"), 1.0, set(), *[says()] * 4),
        rollout(
            0, ("3 + 4 = 8", f"8 - 1 = 7{extra}", "so 7", "\\boxed{7}"), 1.0, {0}, says(0), says(0, 1), says(), says(0)
        ),
        rollout(0, ("3 + 4 = 7", "7 * 1 = 8", "\\boxed{8}"), 0.0, {1}, says(1), says(1), says(1), SILENT),
        rollout(0, ("3 + 4", "\\boxed{}"), None, set(), *[says()] * 4),
        rollout(1, ("1 + 1 = 2", "2 + 2 = 5"), 0.0, {1}, *[says(1)] * 4),
        rollout(1, ("1 + 1 = 2", "2 + 2 = 4"), 0.0, set(), says(), says(), says(0), says(7)),
        rollout(1, ("1 + 1 = 3",), 0.0, {0}, says(0), says(), says(), CUT_OFF),
        rollout(1, ("5",), 0.0, set(), *[Critique(None, "timeout", "")] * 4),
    ]


SCORES = (
    (0.9, 0.8),
    (0.1, 0.5, 0.8, 0.98),
    (0.95, 0.2, 0.3),
    (0.5, 0.5),
    (0.9, 0.05),
    (0.9, 0.9),
    (0.25,),
)
"""Scores of the steps of `ordinary`; the last rollout has none."""


def scored(rollouts: list[Rollout]) -> list[Rollout]:
    """Return the rollouts of `ordinary` as a process reward model scored them, instead of critics."""
    said = [*(ScoredSolution(scores, tokens=20) for scores in SCORES), ScoredSolution(None, "too_long")]
    return [replace(row, critiques=(), scored=one) for row, one in zip(rollouts, said, strict=True)]


def hostile(rng: random.Random) -> list[Rollout]:
    """Return rollouts in which everything that a model writes is hostile."""
    said = tuple(Critique(frozenset({place}), text=text) for place, text in enumerate(HOSTILE[:3]))
    bad = Rollout(
        group=0,
        problem=HOSTILE[1],
        prompt="\n".join(HOSTILE),
        answer=HOSTILE[0],
        steps=HOSTILE,
        tokens=(1,) * len(HOSTILE),
        outcome=1.0,
        truth=None,
        critiques=(*said, Critique(None, "truncated", "\n".join(reversed(HOSTILE)))),
        pieces=HOSTILE,
    )
    return [bad, *ordinary(rng)[1:]]


class SeenHome:
    """A results folder of one finished study whose variants `majority` and `prm_sum` stored rollouts."""

    def __init__(self, path: Path, rollouts=ordinary, steps: int = 12) -> None:
        self.home = Home(path / "results")
        self.file = path / "seen.yaml"
        self.file.write_text(STUDY, encoding="utf-8")
        self._rollouts, self._steps = rollouts, steps
        for trial in self.plan().trials:
            self._write(trial)

    def plan(self) -> Plan:
        return load_plan(self.file)

    @property
    def trial(self) -> Trial:
        """The trial with critiques."""
        return next(trial for trial in self.plan().trials if trial.variant == "majority")

    @property
    def scored(self) -> Trial:
        """The trial with scores."""
        return next(trial for trial in self.plan().trials if trial.variant == "prm_sum")

    def _write(self, trial: Trial) -> None:
        folder = self.home.trial(trial.id)
        folder.path.mkdir(parents=True)
        if trial.variant in {"majority", "prm_sum"}:
            records = [self._step(trial, number) for number in range(1, self._steps + 1)]
            folder.steps.parent.mkdir(parents=True, exist_ok=True)
            folder.steps.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        problems = COINS.problems("test", 4)
        asked = tuple(Asked(problem, problem.prompt) for problem in problems)
        write_task(folder.completions("coins_test"), TaskRecord({"task": "coins_test"}, "drawn", "coins", 0.0, asked))
        rows = [self._sample(trial, place, problem.id) for place, problem in enumerate(problems)]
        folder.samples("coins_test").parent.mkdir(parents=True, exist_ok=True)
        folder.samples("coins_test").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        write_json(folder.config, trial.as_json())
        write_json(
            folder.metrics, {"metrics": {"coins_test/accuracy": sum(r["correct"] for r in rows) / 4}, "cost": {}}
        )

    def _step(self, trial: Trial, number: int) -> dict:
        votes = trial.variant == "majority"
        rows = self._rollouts(random.Random(number)) if votes else scored(ordinary(random.Random(number)))
        write_step(self.home.trial(trial.id).rollouts, number, 0, rows)
        return {"step": number, **compute_credit_numbers(trial.config, StoredStep(number, (tuple(rows),)))[0]}

    def _sample(self, trial: Trial, place: int, problem: str) -> dict:
        """Return an answer: the trained policy mends problem 0, unlearns 1, and rights a flawed step of 2."""
        after = trial.variant == "majority"
        right = (after, not after, True, False)[place]
        wrong = [] if right and (after or place != 2) else [0]
        return {
            **{
                "problem": problem,
                "decoding": "greedy",
                "sample": 0,
                "completion": "1 + 1 = 2\n\n\\boxed{2}",
                "correct": right,
            },
            **{"status": "right" if right else "wrong", "tokens": 9, "truncated": False, "steps": 2},
            **{"wrong_steps": wrong, "follow_steps": []},
        }
