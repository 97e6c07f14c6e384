"""A real trial, trained with a noisy critic, replayed: its own rule gives again what training recorded."""

from __future__ import annotations

import csv
import json

import pytest
from commands import capo_bench

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


@pytest.mark.nightly
def test_a_trained_trial_is_replayed_exactly(tmp_path):
    (tmp_path / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    capo_bench(tmp_path, "run", "tiny.yaml", "--no-tracking", "--workers", "1")

    capo_bench(tmp_path, "revote", "tiny.yaml", "--weights", "2,1", "--weights", "2,0.5")

    folder = tmp_path / "home" / "studies" / "tiny" / "profiles" / "quick" / "revote"
    with (folder / "revote.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    own = [row for row in rows if (row["rule"], row["k"], row["w_process"]) == ("majority", "4", "1.0")]
    assert [row["critic"] for row in own] == ["noisy", "noisy, first_error"], "another charge is never added to CAPO's"
    assert {(row["moved"], row["label_agreement"], row["rollouts"]) for row in own} == {("0.0", "1.0", "24")}
    trials = json.loads((folder / "revote.json").read_text(encoding="utf-8"))["trials"]
    assert [trial["steps"] for trial in trials] == [3, 3]
    report = (folder.parent / "report" / "report.md").read_text(encoding="utf-8")
    assert "## Critics" in report

    credit = ("credit", "tiny.yaml", "--samples", "2", "--rollouts", "4")
    shown = capo_bench(tmp_path, *credit)
    assert "Credit against true advantages, rollouts of the start, critic noisy" in shown
    assert "Largest standard error of a true advantage" in shown
    first = {path: path.read_bytes() for path in (folder.parent / "credit").rglob("*") if path.is_file()}
    assert {path.name for path in first} >= {"credit.csv", "credit.json", "steps.csv.gz", "credit_rank.svg"}
    kept = {path: path.read_bytes() for path in (tmp_path / "home" / "cache" / "values").iterdir()}
    assert capo_bench(tmp_path, *credit) == shown, "a second call counts nothing again"
    assert {path: path.read_bytes() for path in first} == first
    assert {path: path.read_bytes() for path in kept} == kept
    trial = trials[0]["id"]
    assert "Credit against true advantages" in capo_bench(
        tmp_path, "credit", trial, "--samples", "4", "--rollouts", "8"
    )
    assert "noisy: majority" in report
