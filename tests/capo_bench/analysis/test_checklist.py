"""The survey's checklist: answered from the study, open where the study has no answer."""

from __future__ import annotations

from pathlib import Path

from fakehome import STUDY, TRUTHS, FakeHome

from capo_bench.analysis.checklist import OPEN, build_checklist
from capo_bench.analysis.collect import collect
from capo_bench.analysis.summary import summarise


def answers(fake: FakeHome) -> dict[str, str]:
    results = collect(fake.plan(), fake.home)
    return {item.split(":")[0]: answer for item, _, answer in build_checklist(summarise(results), results)}


def test_there_are_ten_required_and_four_recommended_items(full: FakeHome):
    results = collect(full.plan(), full.home)
    priorities = [priority for _, priority, _ in build_checklist(summarise(results), results)]
    assert (priorities.count("required"), priorities.count("recommended")) == (10, 4)


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


def test_hours_of_processors_stand_where_no_gpu_trained(full: FakeHome):
    # 3 trials each of 6.4, 96, 105.6 and 102.4 process seconds.
    assert answers(full)["Total GPU-hours for training"] == "0; 0.3 processor hours"
