"""A real trial, trained with a noisy critic, replayed: its own rule gives again what training recorded."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

STUDY = """
name: tiny
question: Does a replay give what training had?
baseline: majority
metrics: [coins_test/accuracy]
base:
  cold_start: {steps: 12, problems_per_step: 16}
  train: {steps: 3, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  critic: {name: noisy}
  credit: {critiques: 4}
  evaluation: {tasks: [coins_test], problems: 4, max_completion_tokens: 40}
include:
  - {name: majority, set: {credit.vote: majority}}
  - {name: first_error, set: {method: first_error, credit.vote: majority}}
seeds: [0]
"""


def capo_bench(folder: Path, *arguments: str) -> str:
    words = [sys.executable, "-m", "capo_bench", *arguments, "--home", str(folder / "home")]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_trained_trial_is_replayed_exactly(tmp_path):
    (tmp_path / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    capo_bench(tmp_path, "run", "tiny.yaml", "--no-tracking", "--workers", "1")

    out = capo_bench(tmp_path, "revote", "tiny.yaml", "--weights", "2,1", "--weights", "2,0.5")

    # Five numbers of the critiques, one of the groups, and all advantages, of each of three steps.
    assert "each of 2 trials gives again what training recorded" in out
    assert "42 numbers of 6 optimizer steps" in out
    folder = tmp_path / "home" / "studies" / "tiny" / "revote"
    with (folder / "revote.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    own = [row for row in rows if (row["rule"], row["k"], row["w_process"]) == ("majority", "4", "1.0")]
    assert [row["critic"] for row in own] == ["noisy", "noisy, first_error"], "another charge is never added to CAPO's"
    assert {(row["moved"], row["label_agreement"], row["rollouts"]) for row in own} == {("0.0", "1.0", "24")}
    trials = json.loads((folder / "revote.json").read_text(encoding="utf-8"))["trials"]
    assert [(trial["steps"], trial["check"]["off"]) for trial in trials] == [(3, [])] * 2
    report = (tmp_path / "home" / "studies" / "tiny" / "report" / "report.md").read_text(encoding="utf-8")
    assert "## Critics" in report
    assert "noisy: majority" in report
