"""What is compared with what where a study varies something that must be equal in a comparison."""

from __future__ import annotations

import pytest

from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import load_plan

STUDY = """
name: sizes
question: Does the size of a group matter to what credit is worth?
baseline: grpo_4
start: start
within: [train.group_size, train.prompts_per_step]
base: {critic: {name: exact}, credit: {critiques: 1, vote: union}, train: {steps: 2}}
include:
  - name: grpo_4
    set: {method: grpo_rule, train.group_size: 4, train.prompts_per_step: 4}
  - name: capo_4
    set: {method: capo, train.group_size: 4, train.prompts_per_step: 4}
  - name: grpo_8
    set: {method: grpo_rule, train.group_size: 8, train.prompts_per_step: 2}
  - name: capo_8
    set: {method: capo, train.group_size: 8, train.prompts_per_step: 2}
  - name: start
    set: {method: sft, train.group_size: 4, train.prompts_per_step: 4}
"""


def plan(tmp_path, text):
    file = tmp_path / "sizes.yaml"
    file.write_text(text)
    return load_plan(str(file), "quick", (), ())


def test_each_variant_has_the_baseline_with_its_own_values(tmp_path):
    found = plan(tmp_path, STUDY)
    assert {name.name: found.baseline_of(name.name) for name in found.variants} == {
        "grpo_4": "grpo_4", "capo_4": "grpo_4", "grpo_8": "grpo_8", "capo_8": "grpo_8", "start": "grpo_4",
    }  # fmt: skip
    # What does not train has no groups: there is one start.
    assert (found.start_of("capo_4"), found.start_of("capo_8")) == ("start", "start")


def test_without_it_there_is_one_baseline(tmp_path):
    found = plan(tmp_path, STUDY.replace("within: [train.group_size, train.prompts_per_step]\n", ""))
    assert {found.baseline_of(one.name) for one in found.variants} == {"grpo_4"}
    assert {found.start_of(one.name) for one in found.variants} == {"start"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "train.prompts_per_step]",
            "train.prompt_per_step]",
            "sizes.yaml:6: within: unknown key 'train.prompt_per_step'",
        ),
        (
            "group_size: 8, train.prompts_per_step: 2}\n  - name: capo_8",
            "group_size: 8, train.prompts_per_step: 4}\n  - name: capo_8",
            "sizes.yaml:15: variant 'capo_8': no variant is baseline 'grpo_4' with its train.group_size, train.prompts",
        ),
    ],
)
def test_what_cannot_be_compared_is_told(tmp_path, old, new, told):
    assert old in STUDY
    with pytest.raises(StudyErrors) as error:
        plan(tmp_path, STUDY.replace(old, new, 1))
    assert told in str(error.value)
