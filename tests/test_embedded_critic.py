"""A study whose critic is a language model, through the command line: it is taught, asked, kept and voted on again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from commands import capo_bench

from capo_bench.store.home import Home
from trainers.rollouts import read_rollouts

STUDY = """
name: words
question: Does a critic that writes its verdicts work from end to end?
baseline: capo
metrics: [coins_test/accuracy]
base:
  cold_start: {steps: 12, problems_per_step: 16}
  train: {steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  credit: {critiques: 2, vote: union, max_abstained: 1.0}
  critic: {name: transformers, max_tokens: 60, embedded: {steps: 6, problems_per_step: 8}}
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
include:
  - {name: capo, set: {}}
  - {name: genorm, set: {method: grpo_genorm}}
seeds: [0]
"""


def trials(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return every trial's folder and metrics, by variant."""
    found = {}
    for path in (folder / "home" / "trials").glob("*/metrics.json"):
        about = json.loads((path.parent / "config.json").read_text())
        found[about["variant"]] = path.parent, json.loads(path.read_text())
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    (folder / "words.yaml").write_text(STUDY)
    capo_bench(folder, "run", "words.yaml", "--workers", "1")
    return folder


def test_the_critic_is_taught_once_for_both_methods(finished: Path) -> None:
    (model,) = (path for path in (finished / "home" / "stages" / "critic").iterdir() if path.is_dir())
    about = json.loads((model / "critic.json").read_text())
    assert about["critic"]["steps"] == 6
    assert about["cost"]["seconds"] > 0


def test_what_the_critic_wrote_is_kept_with_the_rollouts_and_paid_for(finished: Path) -> None:
    for variant, aim in (("capo", "steps"), ("genorm", "answer")):
        folder, record = trials(finished)[variant]
        rollouts = [
            rollout
            for step in read_rollouts(Home(finished / "home").trial(folder.name).rollouts)
            for rollout in step.rollouts
        ]
        critiques = [critique for rollout in rollouts for critique in rollout.critiques]
        assert {rollout.aim for rollout in rollouts} == {aim}
        assert len(critiques) == record["cost"]["critiques"] == 2 * 2 * 4 * 2
        assert any(critique.text for critique in critiques)
        written = sum(critique.usage.output_tokens for critique in critiques)
        assert written == record["cost"]["critic_output_tokens"] > 0
        read = sum(critique.usage.prompt_tokens for critique in critiques)
        assert read == record["cost"]["critic_prompt_tokens"] > 0


def test_the_report_says_how_good_the_critic_was_and_what_it_cost(finished: Path) -> None:
    text = capo_bench(finished, "report", "words.yaml")
    report = finished / "home" / "studies" / "words" / "profiles" / "quick" / "report"
    page = (report / "report.html").read_text()
    assert "Critics" in page
    rows = (report / "report.md").read_text().splitlines()
    for critic in ("transformers", "transformers, on answers"):  # verdicts on steps and on answers are never pooled
        assert any(row.startswith(f"| {critic} | 1 |") for row in rows)
    assert "Traceback" not in text


def test_the_kept_critiques_can_be_voted_on_again(finished: Path) -> None:
    capo_bench(finished, "revote", "words.yaml", "--only", "capo")
    with (finished / "home" / "studies" / "words" / "profiles" / "quick" / "revote" / "revote.csv").open() as file:
        rules = {row["rule"] for row in csv.DictReader(file)}
    assert {"intersection", "majority", "union", "average"} <= rules


@pytest.mark.nightly
def test_without_kept_critiques_and_with_two_workers_the_results_are_the_same(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(STUDY)
    capo_bench(tmp_path, "run", "words.yaml", "--workers", "2", "--no-critique-cache")
    assert (finished / "home" / "cache" / "critiques").exists()
    assert not (tmp_path / "home" / "cache" / "critiques").exists()
    kept, asked = trials(finished), trials(tmp_path)
    assert {name: record["metrics"] for name, (_, record) in kept.items()} == {
        name: record["metrics"] for name, (_, record) in asked.items()
    }
    counts = ("policy_tokens", "critic_tokens", "critiques", "abstained")
    for name, (_, record) in kept.items():
        assert [record["cost"][count] for count in counts] == [asked[name][1]["cost"][count] for count in counts]
