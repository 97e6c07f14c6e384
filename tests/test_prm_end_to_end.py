"""Both methods with a process reward model on the command line: planned, trained, viewed, bundled and verified."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commands import capo_bench

from capo_bench.store.home import Home, TrialFolder
from evals.checksums import seal
from trainers.rollouts import read_rollouts, write_step

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
    (kept,) = (path for path in (ran / "home" / "stages" / "prm").iterdir() if path.is_dir())
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
    folder = ran / "home" / "studies" / "tiny" / "profiles" / "quick" / "report"
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "prm\\_min" in report


def trial_of(home: Path, variant: str) -> TrialFolder:
    """Return the folder of a variant's trial."""
    (path,) = (
        path.parent
        for path in (home / "trials").glob("*/config.json")
        if json.loads(path.read_text(encoding="utf-8"))["variant"] == variant
    )
    return Home(home).trial(path.name)


def test_rollouts_are_kept_with_the_scores_that_the_records_tell_of(ran: Path) -> None:
    folder = trial_of(ran / "home", "prm_min")
    kept, records = list(read_rollouts(folder.rollouts)), folder.steps.read_text(encoding="utf-8").splitlines()
    assert [step.step for step in kept] == [1, 2]
    for step, record in zip(kept, map(json.loads, records), strict=True):
        assert [len(row.scored.scores) for row in step.rollouts] == [len(row.steps) for row in step.rollouts]
        assert sum(row.scored.tokens for row in step.rollouts) == record["critic_tokens"]
        scores = [score for row in step.rollouts for score in row.scored.scores]
        assert sum(score < 0.5 for score in scores) / len(scores) == pytest.approx(record["flagged_step_rate"])
        assert not any(row.critiques for row in step.rollouts)
    plain = list(read_rollouts(trial_of(ran / "home", "grpo_rule").rollouts))
    assert [len(step.rollouts) for step in plain] == [8, 8], "a method that asks nobody keeps them as well"
    assert {row.scored for step in plain for row in step.rollouts} == {None}


def test_a_trial_of_them_is_viewed(ran: Path) -> None:
    trial = trial_of(ran / "home", "prm_min")
    page = Path(capo_bench(ran, "view", trial.path.name, "--home", "home").strip())
    assert "16 rollouts of 1 trials" in (ran / page).read_text(encoding="utf-8")


def test_votes_of_them_are_refused_with_a_way_out(ran: Path) -> None:
    told = capo_bench(ran, "revote", "tiny.yaml", "--home", "home", expect=2)
    trial = trial_of(ran / "home", "prm_min").path.name
    assert "method prm_min asks no critic, and scores of a process reward model are no votes" in told
    assert f"`capo-bench view {trial}` shows them" in " ".join(told.split())


def test_scores_that_were_changed_are_found_out(ran: Path, tmp_path: Path) -> None:
    shutil.copytree(ran / "home", tmp_path / "home")
    folder = trial_of(tmp_path / "home", "prm_min").rollouts
    first, *_ = read_rollouts(folder)
    forged, *others = first.rollouts
    scores = tuple(1 - score for score in forged.scored.scores)
    write_step(folder, 1, 0, [replace(forged, scored=replace(forged.scored, scores=scores)), *others])
    seal(folder.parent, [folder.name])  # as a forger would
    told = capo_bench(ran, "verify", "tiny.yaml", "--home", str(tmp_path / "home"), expect=1)
    assert "step 1 flagged_step_rate: " in " ".join(told.split())


def test_a_bundle_of_them_verifies_and_brings_the_model(ran: Path) -> None:
    capo_bench(ran, "bundle", "tiny.yaml", "--home", "home", "--weights")
    told = capo_bench(ran, "verify", "tiny.tar.gz", expect=3)
    assert "32 more are NOT VERIFIED" in told, "a score is what only its model could give again"
    capo_bench(ran, "bundle", "tiny.tar.gz", "--into", "other")
    assert [*(ran / "other" / "stages" / "prm").glob("*/model.safetensors")]
