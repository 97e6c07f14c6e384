"""Training on problems whose steps nobody checks: what needs a checker is refused, the rest goes on without."""

from __future__ import annotations

import json

import pytest

from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import load_plan
from evals.tasks.row_sets import DATA
from evals.tasks.training_sets import GSM8K
from trainers import capo
from trainers.critics.base import CriticParams
from trainers.rollouts import read_rollouts


@pytest.fixture
def local_gsm8k(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA, str(tmp_path / "data"))
    (tmp_path / "data" / "gsm8k").mkdir(parents=True)
    rows = [{"question": f"Ann has {n}. How many?\n", "answer": f"She has {n}.\n#### {n}"} for n in range(4)]
    (tmp_path / "data" / "gsm8k" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield
    GSM8K.__dict__.pop("all", None)


@pytest.mark.usefixtures("local_gsm8k")
def test_a_policy_is_trained_and_nothing_is_said_of_wrong_steps(make_run, monkeypatch):
    critic = {"name": "transformers", "model": "embedded", "max_tokens": 12}
    run, records = make_run(benchmark="gsm8k", credit={"critiques": 2, "max_abstained": 1.0}, critic=critic)

    class Flags:
        eager = False

        async def critique(self, solutions, k, *, first=0, greedy=False):
            from trainers.credit.critique import Critique

            return [[Critique(frozenset({0}))] * k for _ in solutions]

        async def close(self):
            pass

    monkeypatch.setattr("trainers.criticised.open_critic", lambda *_: Flags())
    assert isinstance(run.config.critic, CriticParams)
    assert capo.train(run)
    assert len(records) == 2
    for record in records:
        assert "wrong_step_rate" not in record
        assert record["flagged_step_rate"] > 0
        json.dumps(record, allow_nan=False)
    stored = [rollout for step in read_rollouts(run.rollouts) for rollout in step.rollouts]
    assert {rollout.truth for rollout in stored} == {None}
    assert all(rollout.problem.startswith("gsm8k/train/") for rollout in stored)


STUDY = """
name: s
question: q?
baseline: exact
base: {benchmark: gsm8k, backbone: qwen3-1.7b, cold_start: null, credit: {critiques: 1, vote: union}}
include:
  - name: exact
    set: {critic: {name: exact}}
  - name: taught
    set: {critic: {name: transformers}}
  - name: own
    set: {critic: {name: transformers, model: some/critic}}
  - name: rule
    set: {method: grpo_rule}
"""


@pytest.mark.usefixtures("local_gsm8k")
def test_critics_that_rest_on_a_checker_are_refused_before_anything_runs(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(STUDY)
    with pytest.raises(StudyErrors) as told:
        load_plan(str(file), "quick", (), ())
    lines = str(told.value).splitlines()
    assert len(lines) == 2
    assert "s.yaml:8: variant 'exact': critic 'exact' rests on a checker of steps, and benchmark 'gsm8k'" in lines[0]
    assert "train on coins" in lines[0]
    assert "variant 'taught': critic 'transformers'" in lines[1]
