"""Both methods with a process reward model through the command line: planned, trained, kept, bundled and verified."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from capo_bench.cli import main

STUDY = """
name: tiny
question: Do scores of steps train a policy?
baseline: grpo_rule
metrics: [coins_test/accuracy]
base:
  cold_start: {steps: 12, problems_per_step: 16}
  train: {steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  prm: {embedded: {steps: 4, problems_per_step: 8}}
  evaluation: {tasks: [coins_test], problems: 4, max_completion_tokens: 40}
include:
  - {name: prm_sum, set: {method: prm_sum}}
  - {name: prm_min, set: {method: prm_min, prm.temperature: null}}
  - {name: grpo_rule, set: {method: grpo_rule}}
seeds: [0]
"""


def capo_bench(folder: Path, *arguments: str) -> str:
    """Run a command in a folder; trials in a process of its own, the others in this one."""
    if arguments[0] == "run":
        words = [sys.executable, "-m", "capo_bench", *arguments]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        code, out = done.returncode, done.stdout + done.stderr
    else:
        with contextlib.chdir(folder):
            result = CliRunner().invoke(main, list(arguments))
        code, out = result.exit_code, result.output
    assert code == 0, out
    return out


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prm")
    (folder / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    capo_bench(folder, "run", "tiny.yaml", "--home", "home", "--no-tracking", "--workers", "1")
    return folder


def test_a_plan_tells_of_the_model_and_of_one_reading_a_rollout(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    planned = capo_bench(tmp_path, "plan", "tiny.yaml", "--home", "home")
    assert re.search(r"embedded PRM [0-9a-f]{12}: shared by 2 trials, to be trained", planned)
    assert "critic calls: 32" in planned, "each of 2 × 2 × 4 rollouts of two trials"


def test_one_model_is_taught_for_all_of_them_and_kept(ran: Path) -> None:
    (kept,) = (ran / "home" / "cache" / "prm").iterdir()
    about = json.loads((kept / "prm.json").read_text(encoding="utf-8"))
    assert about["prm"]["steps"] == 4
    assert f"embedded PRM {kept.name}: shared by 2 trials, done" in capo_bench(
        ran, "plan", "tiny.yaml", "--home", "home"
    )
    assert kept.name not in capo_bench(ran, "gc", "--home", "home")


def test_trials_tell_what_was_read(ran: Path) -> None:
    told = {}
    for path in (ran / "home" / "trials").glob("*/metrics.json"):
        variant = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))["variant"]
        told[variant] = json.loads(path.read_text(encoding="utf-8"))["cost"]
    assert {name: cost["critiques"] for name, cost in told.items()} == {
        "prm_sum": 16,
        "prm_min": 16,
        "grpo_rule": 0,
    }
    assert told["prm_sum"]["critic_tokens"] > told["prm_sum"]["policy_tokens"]
    report = (ran / "home" / "studies" / "tiny" / "report" / "report.md").read_text(encoding="utf-8")
    assert "prm\\_min" in report


def test_a_bundle_of_them_verifies_and_brings_the_model(ran: Path) -> None:
    capo_bench(ran, "bundle", "tiny.yaml", "--home", "home", "--weights")
    capo_bench(ran, "verify", "tiny.tar.gz")
    capo_bench(ran, "bundle", "tiny.tar.gz", "--into", "other")
    assert [*(ran / "other" / "cache" / "prm").glob("*/model.safetensors")]
