"""Forks and repairs from end to end, through the command line: a cold start, a training, an evaluation, a check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import capo_bench

STUDY = """
name: protocol
question: Does a study of {task} run from end to end?
baseline: grpo_rule
start: start
metrics: [{task}_test/accuracy, {task}_test/wrong_step_rate]
base:
  benchmark: {task}
  cold_start: {{task: {task}, steps: 6, problems_per_step: 16, belief: 0.5, slip: 0.3}}
  train: {{steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 120}}
  critic: {{name: exact}}
  credit: {{critiques: 1, vote: union}}
  evaluation: {{tasks: [{task}_test], problems: 8, max_completion_tokens: 120}}
include:
  - {{name: capo, set: {{method: capo}}}}
  - {{name: grpo_rule, set: {{method: grpo_rule}}}}
  - {{name: start, set: {{method: sft}}}}
seeds: [0]
"""


@pytest.mark.parametrize("task", ["forks", pytest.param("repairs", marks=pytest.mark.nightly)])
def test_a_study_trains_and_is_evaluated(tmp_path: Path, task: str) -> None:
    (tmp_path / "study.yaml").write_text(STUDY.format(task=task), encoding="utf-8")
    capo_bench(tmp_path, "run", "study.yaml", "--home", "home", "--no-tracking", "--workers", "1")
    metrics = [json.loads(path.read_text())["metrics"] for path in tmp_path.glob("home/trials/*/metrics.json")]
    assert len(metrics) == 3
    for found in metrics:
        assert 0 <= found[f"{task}_test/accuracy"] <= 1
        assert 0 < found[f"{task}_test/wrong_step_rate"] <= 1, "a start as short as this miscounts"
    capo_bench(tmp_path, "verify", "study.yaml", "--home", "home")


def test_a_cold_start_of_another_task_is_refused(tmp_path: Path) -> None:
    text = STUDY.format(task="forks").replace("task: forks", "task: repairs")
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    told = " ".join(capo_bench(tmp_path, "validate", "study.yaml", expect=2).split())
    assert (
        "cold_start.task is 'repairs', and benchmark 'forks' has other problems; set cold_start.task to forks" in told
    )
