"""``--set KEY=A,B`` runs every variant with every value."""

from __future__ import annotations

from pathlib import Path

import pytest

from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import load_plan
from capo_bench.study.select import read_setting

STUDY = """\
name: small
question: Does the vote matter?
baseline: rule
start: begun
base: {critic: {name: noisy}, train: {steps: 10, prompts_per_step: 2, group_size: 4}}
matrix: {credit.vote: [union, majority]}
include:
  - {name: rule, set: {method: grpo_rule}}
  - {name: begun, set: {method: sft}}
seeds: [0]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    return file


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1", [1]),
        ("a=1,2", [1, 2]),
        ("a=1e-4, 2e-4", [1e-4, 2e-4]),
        ("a=x,null", ["x", None]),
        ("a={name: noisy, miss: 0.1}", [{"name": "noisy", "miss": 0.1}]),
        ("a=[1, 2],[3]", [[1, 2], [3]]),
        ("a='x,y'", ["x,y"]),
        ("a={name: noisy},{name: exact}", [{"name": "noisy"}, {"name": "exact"}]),
    ],
)
def test_values_stand_between_commas_outside_brackets_and_quotes(text: str, values: list[object]) -> None:
    assert [setting.value for setting in read_setting(text)] == values


def test_each_variant_is_compared_with_the_baseline_of_the_same_value(study: Path) -> None:
    plan = load_plan(study, sets=["train.learning_rate=1e-4,2e-4"])
    rates = [f"learning_rate={value}" for value in (0.0001, 0.0002)]
    trained = [f"{name},{rate}" for name in ("vote=union", "vote=majority", "rule") for rate in rates]
    assert [variant.name for variant in plan.variants] == [
        *trained,
        "begun",
    ]  # supervised training alone has no such rate
    assert plan.baseline == "rule,learning_rate=0.0001"
    assert plan.baseline_of("vote=union,learning_rate=0.0002") == "rule,learning_rate=0.0002"
    assert plan.start_of("vote=union,learning_rate=0.0002") == "begun"
    assert len({trial.id for trial in plan.trials}) == 7


def test_a_method_that_does_not_use_a_key_and_a_variant_that_sets_it_stay_one(study: Path) -> None:
    names = [variant.name for variant in load_plan(study, sets=["credit.critiques=2,4"]).variants]
    both = [f"vote={vote},critiques={k}" for vote in ("union", "majority") for k in (2, 4)]
    assert names == [*both, "rule", "begun"]
    with pytest.raises(StudyErrors, match="the study sweeps"):
        load_plan(study, sets=["credit.vote=union,greedy"])


def test_a_study_of_one_variant_is_named_by_the_values_and_compared_with_the_first(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("name: one\nquestion: How many steps?\nbaseline: base\nbase: {method: grpo_rule}\nseeds: [0]\n")
    plan = load_plan(file, sets=["train.steps=5,10", "train.learning_rate=1e-4,2e-4"])
    assert [variant.name for variant in plan.variants] == [
        f"steps={steps},learning_rate={rate}" for steps in (5, 10) for rate in (0.0001, 0.0002)
    ]
    assert plan.baseline == "steps=5,learning_rate=0.0001"
    assert plan.baseline_of("steps=10,learning_rate=0.0002") == plan.baseline


def test_a_wrong_value_is_named_with_its_option(study: Path) -> None:
    with pytest.raises(StudyErrors) as caught:
        load_plan(study, sets=["train.steps=5,many", "train.stepz=1,2"])
    told = str(caught.value)
    assert "--set train.steps=5,many: " in told
    assert "--set train.stepz=1,2: unknown key 'train.stepz' (did you mean 'train.steps'?)" in told
