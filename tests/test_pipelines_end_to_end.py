"""Two seeds that are whole pipelines, through the command line: a cold start, a critic and a training each."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from commands import capo_bench

STUDY = """
name: pipelines
question: Do seeds that are whole pipelines work from end to end?
baseline: grpo_rule
start: start
metrics: [coins_test/accuracy]
base:
  cold_start: {seed: trial, steps: 6, problems_per_step: 8}
  train: {steps: 2, prompts_per_step: 2, group_size: 4, max_completion_tokens: 40}
  credit: {critiques: 2, vote: union, max_abstained: 1.0}
  critic: {name: transformers, max_tokens: 60, embedded: {seed: trial, steps: 4, problems_per_step: 8}}
  evaluation: {tasks: [coins_test], problems: 8, max_completion_tokens: 40}
include:
  - {name: capo, set: {method: capo}}
  - {name: grpo_rule, set: {method: grpo_rule}}
  - {name: start, set: {method: sft}}
seeds: [0, 1]
"""


def trials(folder: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Return what each trial measured and the weights that it ended with, by variant and seed."""
    found = {}
    for path in (folder / "home" / "trials").glob("*/metrics.json"):
        about = json.loads((path.parent / "config.json").read_text())
        provenance = json.loads((path.parent / "provenance.json").read_text())
        found[about["variant"], about["seed"]] = {
            "metrics": json.loads(path.read_text())["metrics"],
            "start": provenance["fingerprints"]["cold_start"],
            "weights": provenance["fingerprints"]["final_weights"],
        }
    return found


def weights(folder: Path, kind: str) -> set[str]:
    models = (folder / "home" / "stages" / kind).glob("*/model.safetensors")
    return {hashlib.sha256(model.read_bytes()).hexdigest() for model in models}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "pipelines.yaml").write_text(STUDY)
    capo_bench(folder, "run", "pipelines.yaml", "--workers", "2")
    return folder


def test_each_seed_has_a_start_and_a_critic_of_its_own(finished: Path) -> None:
    assert len(weights(finished, "cold_start")) == 2
    assert len(weights(finished, "critic")) == 2
    starts = {key: trial["start"] for key, trial in trials(finished).items()}
    assert len(starts) == 6
    for seed in (0, 1):
        assert len({start for (_, own), start in starts.items() if own == seed}) == 1
    assert starts["start", 0] != starts["start", 1]


@pytest.mark.nightly
def test_killed_while_the_second_seed_is_taught_it_ends_with_the_same(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "pipelines.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "capo_bench", "run", "pipelines.yaml", "--workers", "1", "--no-tracking"]
    process = subprocess.Popen(
        [*command, "--home", str(tmp_path / "home")],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while len(weights(tmp_path, "cold_start")) + len(weights(tmp_path, "critic")) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(list((tmp_path / "home" / "trials").glob("*/metrics.json"))) < 6
    capo_bench(tmp_path, "run", "pipelines.yaml", "--workers", "1", "--no-tracking")
    assert trials(tmp_path) == trials(finished)
    for kind in ("cold_start", "critic"):
        assert weights(tmp_path, kind) == weights(finished, kind)


def test_the_report_says_so(finished: Path) -> None:
    capo_bench(finished, "report", "pipelines.yaml")
    report = finished / "home" / "studies" / "pipelines" / "profiles" / "quick" / "report"
    for page in ("report.md", "report.html"):
        assert (report / page).read_text().count("Each seed has its own start and critic.") == 1


def test_plan_gc_bundle_and_verify_know_them(finished: Path) -> None:
    planned = capo_bench(finished, "plan", "pipelines.yaml")
    assert "cold starts: 2, of which 2 done" in planned
    assert "embedded critics: 2, of which 2 done" in planned
    capo_bench(finished, "gc", "--yes")
    # Every number follows from the files, but for what was cut off and what only the critic's weights tell.
    assert " values match, " in capo_bench(finished, "verify", "pipelines.yaml", expect=3)
    capo_bench(finished, "bundle", "pipelines.yaml", "--weights", "--out", "all.tar.gz")
    with tarfile.open(finished / "all.tar.gz") as bundle:
        files = [name.split("/") for name in bundle.getnames()]
    for kind in ("cold_start", "critic"):
        assert len({parts[-2] for parts in files if parts[-1] == f"{kind}.json"}) == 2
    assert len(weights(finished, "cold_start")) == len(weights(finished, "critic")) == 2


@pytest.mark.nightly
def test_a_seed_run_alone_and_the_other_later_give_the_same(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "pipelines.yaml").write_text(STUDY)
    capo_bench(tmp_path, "run", "pipelines.yaml", "--workers", "1", "--only", "seed=1")
    assert {seed for _, seed in trials(tmp_path)} == {1}
    assert len(weights(tmp_path, "critic")) == 1
    capo_bench(tmp_path, "run", "pipelines.yaml", "--workers", "1")
    assert trials(tmp_path) == trials(finished)
