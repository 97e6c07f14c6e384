"""``capo-bench plan``: what would run, printed or as JSON; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from capo_bench.cli import main
from capo_bench.store.home import Home, write_json
from capo_bench.study.load import load_plan

STUDY = """\
name: small
question: Does the vote matter?
baseline: rule
start: begun
base:
  critic: {name: noisy}
  cold_start: {steps: 100, problems_per_step: 64}
  train: {steps: 10, prompts_per_step: 2, group_size: 4}
matrix: {credit.vote: [union, majority]}
include:
  - {name: rule, set: {method: grpo_rule}}
  - {name: begun, set: {method: sft}}
seeds: [0, 1]
metrics: [coins_test/accuracy, coins_longer/steps]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(STUDY)
    return tmp_path


def printed(*args: str) -> str:
    done = CliRunner().invoke(main, ["plan", "small.yaml", *args], env={"COLUMNS": "300"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def as_json(*args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed("--json", *args))
    return found


def test_it_says_what_would_run(folder: Path) -> None:
    text = printed("--full")
    assert text.startswith("small: Does the vote matter?\nprofile: quick, baseline: rule, start: begun\n")
    assert "metrics: coins_test/accuracy, coins_longer/steps" in text
    plan = load_plan("small.yaml")
    assert all(f"{trial.seed}:{trial.id}" in text for trial in plan.trials)
    assert all(variant.name in text for variant in plan.variants)
    key = plan.trials[0].identity["training"]["cold_start"]["key"]
    assert f"cold start {key}: shared by 8 trials, to be trained" in text
    # two variants with a critic × 2 seeds × 10 steps × 2 prompts × 4 rollouts × 4 critiques
    assert "critic calls: 1,280\n" in text
    assert "trials: 8, of which 0 done in results\n" in text
    assert "time left: about " in text


def test_it_writes_nothing(folder: Path) -> None:
    printed()
    assert [path.name for path in folder.iterdir()] == ["small.yaml"]


def test_it_shows_what_is_done_in_home(folder: Path) -> None:
    trial = load_plan("small.yaml").trials[0]
    home = Home(folder / "there")
    write_json(home.trial(trial.id).metrics, {"metrics": {}, "cost": {"wall_seconds": 60.0}})
    home.stage("cold_start", trial.identity["training"]["cold_start"]["key"]).mkdir(parents=True)
    text = printed("--home", "there")
    assert "trials: 8, of which 1 done in there\n" in text
    assert "shared by 8 trials, done\n" in text
    assert "(1 of 7 trials from finished ones" in text


def test_home_may_come_from_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPO_BENCH_HOME", "elsewhere")
    assert "0 done in elsewhere" in printed()


ON_GPUS = ("--set", "backbone=qwen2.5-1.5b", "--set", "cold_start=null", "--set", "train.micro_batch=8")


def test_hours_critic_tokens_and_money_of_trials_on_gpus(folder: Path) -> None:
    critic = "critic={name: openai, model: m, base_url: 'http://127.0.0.1:1/v1', parameters: 7.0e9}"
    study = STUDY.replace("method: sft", "method: base")
    (folder / "small.yaml").write_text(f"{study}machine: {{critic_gpus: 2, update: 0.25, gpu_hour: 100}}\n")
    text = printed(*ON_GPUS, "--set", critic)
    assert "time left: about " in text
    assert " on 3 GPUs (sampling " in text
    assert "989 TFLOP/s a GPU, of which updates reach 25%, reading 40%, writing 10%" in text
    # 4 trials × 10 steps × 8 rollouts × (200 + 48 + 400) tokens read, and 4 critiques of half of 1,024 written
    assert "critic tokens: about 0.2 million read, 0.7 million written; GPU hours: about " in text
    assert "; money: about " in text
    found = as_json(*ON_GPUS, "--set", critic)["estimate"]["gpu"]
    assert (found["gpus"], found["machine"]["update"]) == (3, 0.25)
    assert found["critic_written"] == 4 * 10 * 8 * 4 * 512
    assert found["money"] == pytest.approx(100 * found["gpu_hours"])


def test_a_critic_of_unknown_size_has_no_guess_and_is_said_to_have_none(folder: Path) -> None:
    (folder / "small.yaml").write_text(STUDY.replace("method: sft", "method: base"))
    text = printed(*ON_GPUS, "--set", "critic={name: openai, model: m, base_url: 'http://127.0.0.1:1/v1'}")
    assert "time left: not known for 4 trials" in text  # the other 4 ask no critic
    assert "on 1 GPU (" in text
    assert "cold start" not in text


def test_it_shows_what_a_budget_allows(folder: Path) -> None:
    text = printed("--set", "train.budget={policy_tokens: 1000}", "--set", "train.steps=500")
    # 8 rollouts of 40 tokens a step: 1,000 tokens are spent with the fourth; the start is not trained.
    told = "budget of a trial: 1,000 policy tokens, at most 500 steps ("
    assert f"{told}vote=union about 4, vote=majority about 4, rule about 4)\n" in text
    assert "critic calls: about 512\n" in text  # two variants × 2 seeds × 4 steps × 8 rollouts × 4 critiques


def test_variants_without_a_trial_are_not_listed(folder: Path) -> None:
    text = printed("--only", "rule")
    assert "vote=union" not in text
    assert "trials: 2, " in text


def test_only_the_machines_of_the_selected_trials_are_told(folder: Path) -> None:
    study = STUDY.replace("{credit.vote: [union, majority]}", "{backbone: [qwen2.5-1.5b, llama3.2-1b]}")
    study = study.replace("method: sft", "method: base")
    base = "backbone: llama3.2-3b\n  cold_start: null"
    (folder / "small.yaml").write_text(study.replace("cold_start: {steps: 100, problems_per_step: 64}", base))
    assert machines() == ["qwen2.5-1.5b", "llama3.2-1b", "llama3.2-3b"]
    assert machines("--only", "backbone=llama3.2-1b") == ["llama3.2-1b"]
    assert machines("--only", "rule") == ["llama3.2-3b"]
    assert machines("--only", "begun") == []


def machines(*args: str) -> list[str]:
    """The backbones that the plan has a line of, in its order."""
    told = printed("--set", "train.prompts_per_step=16", *args).splitlines()
    return [line.split(":")[0].removeprefix("backbone ") for line in told if line.startswith("backbone ")]


def test_a_critic_that_the_run_serves_is_told_with_its_gpus(folder: Path) -> None:
    critic = "critic={name: openai, model: org/critic, serve: {gpus: 4, tensor_parallel_size: 4}}"
    told = printed("--set", critic)
    assert "critic org/critic: served for the run on 4 GPUs of its own (tensor_parallel_size 4)" in told
    assert "served" not in printed("--set", critic, "--only", "rule")


def test_json_is_the_plan(folder: Path) -> None:
    plan, found = load_plan("small.yaml"), as_json()
    assert [(item["id"], item["variant"], item["seed"]) for item in found["trials"]] == [
        (trial.id, trial.variant, trial.seed) for trial in plan.trials
    ]
    assert [item["name"] for item in found["variants"]] == ["vote=union", "vote=majority", "rule", "begun"]
    assert found["variants"][0]["overrides"] == {"credit.vote": "union"}
    assert found["variants"][0]["config"]["credit"]["vote"] == "union"
    assert found["estimate"]["critic_calls"] == 1280
    assert found["estimate"]["preparations"][0]["trials"] == 8
    assert (found["study"], found["baseline"], found["start"], found["file"]) == (
        "small",
        "rule",
        "begun",
        "small.yaml",
    )


def test_json_follows_the_options(folder: Path) -> None:
    found = as_json("--only", "rule", "--only", "seed=1", "--set", "train.steps=3")
    assert [(item["variant"], item["seed"]) for item in found["trials"]] == [("rule", 1)]
    assert all(item["config"]["train"]["steps"] == 3 for item in found["variants"])


def test_ids_of_trials_are_shown_in_full_and_in_json(folder: Path) -> None:
    (folder / "small.yaml").write_text(STUDY.replace("[0, 1]", str(list(range(20)))))
    ids = {f"{trial.seed}:{trial.id}" for trial in load_plan("small.yaml").trials}
    assert ids <= set(printed("--full").split())
    assert not ids & set(printed().split())
    assert len(as_json()["trials"]) == 80


def test_settings_are_yaml(folder: Path) -> None:
    (folder / "small.yaml").write_text(
        STUDY.replace("{method: grpo_rule}", "{critic: {name: exact}, credit.vote: union}")
    )
    assert "  rule: {critic: {name: exact}, credit.vote: union}\n" in printed()
    assert "  rule\n    critic: {name: exact}\n    credit.vote: union\n    trials (seed:id): 0:" in printed("--full")


def test_of_a_study_with_looks_it_says_the_least_and_the_most(folder: Path) -> None:
    looks = "seeds: {from: 2, to: 5, looks: [2, 5]}"
    (folder / "small.yaml").write_text(STUDY.replace("seeds: [0, 1]", looks))
    text = printed()
    assert "looks at 2, 5 seeds; at least, if the first decides every variant:\n  trials: 8, of which 0 done" in text
    assert "at most, if the last look is taken with every variant:\ntrials: 20, of which 0 done" in text
    assert [as_json()[part]["trials"] for part in ("least", "estimate")] == [8, 20]
