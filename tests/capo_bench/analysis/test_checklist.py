"""The survey's checklist: answered from the study, open where the study has no answer."""

from __future__ import annotations

from pathlib import Path

from fakehome import STUDY, TRUTHS, FakeHome

from capo_bench.analysis.checklist import OPEN, checklist
from capo_bench.analysis.collect import collect
from capo_bench.analysis.summary import summarise
from capo_bench.home import read_json, write_json


def answers(fake: FakeHome) -> dict[str, str]:
    results = collect(fake.plan(), fake.home)
    return {item.item.split(":")[0]: item.answer for item in checklist(summarise(results), results)}


def test_there_are_ten_required_and_four_recommended_items(full: FakeHome):
    results = collect(full.plan(), full.home)
    required = [item.required for item in checklist(summarise(results), results)]
    assert (required.count(True), required.count(False)) == (10, 4)


def test_what_nothing_answers_is_open(full: FakeHome):
    found = answers(full)
    assert found["Trajectory length distribution (min, median, max)"] == OPEN
    assert found["CA-component ablation isolating the contribution"] == OPEN
    assert found["At least one episode-level baseline (GRPO or PPO) with identical base model"].startswith("grpo_rule;")


def test_a_control_isolates_the_contribution_and_a_budget_is_the_same_for_all(tmp_path: Path):
    study = STUDY.replace(
        "base: {method: capo,",
        "base: {method: capo, train: {budget: {policy_tokens: 9000}},",
    ).replace("- {name: majority, set: {credit.vote: majority}}", "- {name: majority, set: {method: outcome_only}}")
    fake = FakeHome(tmp_path, study, dict(TRUTHS)).finish()
    found = answers(fake)
    assert found["CA-component ablation isolating the contribution"] == "majority"
    assert found["Baseline training recipe"] == "the same budget for all: 9,000 policy tokens"


def test_gpu_hours_are_those_of_training_times_gpus(full: FakeHome):
    assert answers(full)["Total GPU-hours for training"].startswith("0; ")
    for trial in full.plan().trials:
        path = full.home.trial(trial.id).provenance
        origin = read_json(path)
        write_json(path, {**origin, "hardware": {**origin["hardware"], "gpus": ["H200"]}})
    # The tiny backbone trains on processors whatever the machine has.
    assert answers(full)["Total GPU-hours for training"].startswith("0; ")
