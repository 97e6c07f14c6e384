"""From a name and options to a critic's settings."""

from __future__ import annotations

import pytest

from capo_bench.critic.choose import choose_critic
from capo_bench.study.errors import StudyErrors
from trainers.critics.exact import ExactParams
from trainers.critics.noisy import NoisyParams

STUDY = """
name: mine
question: Which?
baseline: a
metrics: [coins_test/accuracy]
base:
  critic: {name: noisy, miss: 0.1}
include:
  - {name: a, set: {}}
profiles:
  quick: {set: {critic.false_alarm: 0.05}}
  other: {set: {critic: {name: exact}}}
"""


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return str(file)


def test_a_registered_critic_with_settings():
    assert choose_critic("noisy", "quick", []) == NoisyParams()
    assert choose_critic("noisy", "quick", ["miss=0.2", "false_alarm=0"]) == NoisyParams(miss=0.2, false_alarm=0)


def test_the_base_critic_of_a_study_in_its_profile(study):
    assert choose_critic(study, "quick", []) == NoisyParams(miss=0.1, false_alarm=0.05)
    assert choose_critic(study, "other", []) == ExactParams()
    assert choose_critic(study, "quick", ["miss=0.5"]) == NoisyParams(miss=0.5, false_alarm=0.05)


def test_a_study_without_a_critic_has_the_default_one(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY.partition("profiles")[0].replace("critic: {name: noisy, miss: 0.1}", "{}"), encoding="utf-8")
    assert choose_critic(str(file), "quick", []) == ExactParams()


@pytest.mark.parametrize(
    ("name", "sets", "told"),
    [
        ("nosy", [], "nosy: no critic and no study 'nosy' (did you mean 'noisy'?); critics: exact, noisy"),
        ("noisy", ["mis=1"], "--set mis=1: unknown key 'mis' (did you mean 'miss'?)"),
        ("noisy", ["miss=2"], "--set miss=2: miss is 2 but should be less than or equal to 1"),
        ("noisy", ["miss"], "--set miss: 'miss' is not KEY=VALUE; e.g. credit.vote=union"),
        ("noisy", ["name=nosy"], "--set name=nosy: unknown critic 'nosy' (did you mean 'noisy'?); known: exact"),
    ],
)
def test_what_is_wrong_is_told(name, sets, told):
    with pytest.raises(StudyErrors) as errors:
        choose_critic(name, "quick", sets)
    assert str(errors.value).startswith(told)


def test_two_wrong_settings_are_told_together():
    with pytest.raises(StudyErrors) as errors:
        choose_critic("noisy", "quick", ["miss=2", "mis=1"])
    assert len(str(errors.value).splitlines()) == 2


def test_a_wrong_study_or_profile_is_told(study, tmp_path):
    with pytest.raises(StudyErrors, match="unknown profile 'none'"):
        choose_critic(study, "none", [])
    (tmp_path / "bad.yaml").write_text(STUDY.replace("miss: 0.1", "miss: 7"), encoding="utf-8")
    with pytest.raises(StudyErrors, match=r"bad.yaml:7: base.critic.miss is 7|bad.yaml:7: critic.miss is 7"):
        choose_critic(str(tmp_path / "bad.yaml"), "quick", [])
