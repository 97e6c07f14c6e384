"""The whole harness through its command line, in real processes: a small study from file to report."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import capo_bench

from capo_bench.store.home import Home, TrialFolder

STUDY = """
name: small
question: Does a critic help on a study that is too small to tell?
baseline: grpo_rule
start: start
metrics: [coins_test/accuracy, coins_test/wrong_step_rate]
base:
  cold_start: {steps: 12, problems_per_step: 16}
  train: {steps: 3, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  critic: {name: noisy, miss: 0.6}   # so that some of the steps, which are all wrong at first, pass even a union
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
matrix:
  credit.vote: [intersection, union]
include:
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: start, set: {method: sft}}
seeds: [0]
"""
LOOKED = """
name: looked
question: Do solutions have more steps after more teaching?
baseline: taught_little
metrics: [coins_test/steps]
base:
  method: sft
  cold_start: {steps: 6, problems_per_step: 16}
  train: {steps: 1, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  evaluation: {tasks: [coins_test], problems: 24, samples: 0, max_completion_tokens: 40}
include:
  - {name: taught_little, set: {}}
  - {name: taught_more, set: {cold_start.steps: 60, cold_start.problems_per_step: 4}}   # plain after three seeds
  - {name: reinforced, set: {method: grpo_rule}}       # never plain: nothing is learnt in a step
seeds: {from: 3, to: 4, looks: [3, 4]}
"""
FOUR = 4
"""Trials of the study as it stands."""


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "capo_bench", *arguments, "--home", str(folder / "home")]


def trials(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every finished trial's variant, seed and metrics, by id."""
    found = {}
    for path in (folder / "home" / "trials").glob("*/metrics.json"):
        about = json.loads((path.parent / "config.json").read_text())
        found[about["id"]] = {
            "variant": about["variant"],
            "seed": about["seed"],
            "metrics": json.loads(path.read_text())["metrics"],
            "changed": path.stat().st_mtime_ns,
        }
    return found


def results(folder: Path) -> dict[tuple[str, int], dict[str, float]]:
    return {(trial["variant"], trial["seed"]): trial["metrics"] for trial in trials(folder).values()}


def table(folder: Path, name: str = "small") -> list[dict[str, str]]:
    """Return the report's table without the one column that a clock decides."""
    with (folder / "home" / "studies" / name / "profiles" / "quick" / "report" / "table.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "wall_seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the study has run once, from nothing."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.yaml").write_text(STUDY)
    out = capo_bench(folder, "run", "small.yaml")
    assert "report.html" in out
    return folder


def test_every_trial_leaves_metrics_samples_steps_and_where_they_come_from(finished: Path) -> None:
    assert len(trials(finished)) == FOUR
    for trial_id, trial in trials(finished).items():
        folder = finished / "home" / "trials" / trial_id
        written = (folder / "evaluation" / "coins_test" / "samples.jsonl").read_text().splitlines()
        samples = [json.loads(line) for line in written]
        greedy = [sample for sample in samples if sample["decoding"] == "greedy"]
        assert (len(greedy), len(samples)) == (8, 8 + 8 * 8)
        right = [sample["correct"] for sample in greedy if sample["correct"] is not None]
        assert trial["metrics"]["coins_test/accuracy"] == pytest.approx(sum(right) / len(right))
        origin = json.loads((folder / "provenance.json").read_text())
        assert {"git", "packages", "hardware", "verifier", "fingerprints", "seed"} <= origin.keys()
        steps_file = TrialFolder(folder).steps
        if trial["variant"] == "start":
            assert not steps_file.exists()
        else:
            steps = [json.loads(line)["step"] for line in steps_file.read_text().splitlines()]
            assert steps == [1, 2, 3]
            # Where every answer is wrong, GRPO has nothing to learn from and CAPO has.
            moved = origin["fingerprints"]["start_weights"] != origin["fingerprints"]["final_weights"]
            assert moved or trial["variant"] == "grpo_rule"
        assert not TrialFolder(folder).checkpoints.exists()


@pytest.mark.nightly
def test_a_study_with_looks_gives_more_seeds_to_what_is_not_decided_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    (tmp_path / "looked.yaml").write_text(LOOKED)
    fixed = json.loads(capo_bench(tmp_path, "plan", "looked.yaml", "--json", "--set", "seeds=4"))["trials"]
    planned = json.loads(capo_bench(tmp_path, "plan", "looked.yaml", "--json"))
    assert (planned["least"]["trials"], planned["estimate"]["trials"]) == (9, 12)
    capo_bench(tmp_path, "run", "looked.yaml", "--only", "seed=0")
    assert len(trials(tmp_path)) == 3
    out = capo_bench(tmp_path, "run", "looked.yaml")
    after = trials(tmp_path)
    seeds = {name: sum(trial["variant"] == name for trial in after.values()) for name in planned_names(planned)}
    assert seeds == {"taught_little": 4, "taught_more": 3, "reinforced": 4}
    assert after.keys() <= {trial["id"] for trial in fixed}
    assert "Looks taken: 2 of 2; look 1 (3 seeds) decided taught_more; not decided by the last: reinforced." in (
        " ".join(out.split())
    )
    assert capo_bench(tmp_path, "run", "looked.yaml").splitlines()[0] == out.splitlines()[0]
    assert trials(tmp_path) == after
    capo_bench(tmp_path, "verify", "looked")
    assert results_after_a_kill_between_looks(tmp_path / "killed") == results(tmp_path)


def results_after_a_kill_between_looks(folder: Path) -> dict[tuple[str, int], dict[str, float]]:
    """Kill a run when the first look's nine trials are done and the second's have hardly begun; resume it."""
    folder.mkdir()
    (folder / "looked.yaml").write_text(LOOKED)
    process = start_run(folder, "looked.yaml")
    wait_until(process, lambda: len(trials(folder)) >= 9)
    assert kill(process) == -signal.SIGKILL
    assert len(trials(folder)) < 11, "the run was over"
    capo_bench(folder, "verify", "looked")
    capo_bench(folder, "run", "looked.yaml")
    capo_bench(folder, "verify", "looked")
    return results(folder)


def planned_names(planned: dict[str, Any]) -> list[str]:
    return [variant["name"] for variant in planned["variants"]]


def test_all_trials_share_one_cold_start(finished: Path) -> None:
    folder = finished / "home" / "stages" / "cold_start"
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1


def test_the_report_answers_with_interval_n_and_cost(finished: Path) -> None:
    report = finished / "home" / "studies" / "small" / "profiles" / "quick" / "report"
    text = (report / "report.md").read_text()
    assert "Does a critic help on a study that is too small to tell?" in text
    assert "95 %" in text
    page = (report / "report.html").read_text()
    assert page.count("<script") == 1
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert {row["variant"] for row in table(finished)} == {"vote=intersection", "vote=union", "grpo_rule", "start"}


def test_running_again_does_nothing_and_prints_the_result(finished: Path) -> None:
    before = trials(finished)
    out = capo_bench(finished, "run", "small.yaml")
    assert "grpo_rule" in out
    assert trials(finished) == before


def test_a_sum_of_the_sections_is_no_more_than_the_wall_time(finished: Path) -> None:
    for path in (finished / "home" / "trials").glob("*/metrics.json"):
        cost = json.loads(path.read_text())["cost"]
        parts = ("generate_seconds", "verify_seconds", "update_seconds", "evaluate_seconds")
        assert sum(cost[part] for part in parts) <= cost["wall_seconds"] * 1.02


def test_two_runs_in_two_folders_are_equal_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(STUDY)
    capo_bench(tmp_path, "run", "small.yaml", "--only", "vote=union", "--workers", "1", "--no-tracking")
    (again,) = trials(tmp_path).items()
    assert trials(finished)[again[0]]["metrics"] == again[1]["metrics"]
    first, second = (Home(folder / "home").trial(again[0]) for folder in (finished, tmp_path))
    assert first.samples("coins_test").read_bytes() == second.samples("coins_test").read_bytes()
    weights = [(folder.model / "model.safetensors").read_bytes() for folder in (first, second)]
    assert weights[0] == weights[1]


@pytest.mark.nightly
def test_after_sigkill_the_same_command_ends_with_the_same_table(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(STUDY)
    process = start_run(tmp_path, "small.yaml", "--no-tracking")
    started = (tmp_path / "home" / "trials").glob
    wait_until(process, lambda: len(list(started("*/training/steps.jsonl"))) >= 2)
    assert kill(process) == -signal.SIGKILL
    ledger = tmp_path / "home" / "studies" / "small" / "ledger.jsonl"
    with ledger.open("ab") as file:
        file.write(b'{"event": "trial_do')  # torn by a crash
    capo_bench(tmp_path, "run", "small.yaml", "--no-tracking")
    assert results(tmp_path) == results(finished)


def start_run(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    silent = subprocess.DEVNULL
    words = command(folder, "run", *arguments)
    return subprocess.Popen(words, cwd=folder, stdout=silent, stderr=silent, start_new_session=True)


def kill(process: subprocess.Popen[bytes]) -> int:
    """Kill the run with all its processes and return its exit code."""
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def wait_until(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> None:
    """Return when something is so, or when the run has ended by itself."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not reached():
        time.sleep(0.05)
