"""From a path or a name, a profile, --set and --only to a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import check_study, list_shipped_studies, load_plan
from capo_bench.study.plan import Plan

Load = Callable[..., Plan]

PROFILES = """\
profiles:
  full:
    seeds: [0, 1, 2, 3]
    matrix: {credit.vote: [average]}
    baseline: vote=average
    set: {train.steps: 7, evaluation.tasks: [coins_longer]}
    metrics: [coins_longer/steps]
  more:
    include: [{name: start, set: {method: sft}}]
    start: start
"""


def rows(plan: Plan) -> list[tuple[str, int]]:
    return [(trial.variant, trial.seed) for trial in plan.trials]


def test_a_plan_is_variants_times_seeds(plan: Load, demo: str) -> None:
    loaded = plan(demo)
    assert (loaded.study, loaded.question, loaded.profile) == ("demo", "Does the vote matter?", "quick")
    assert (loaded.baseline, loaded.start, loaded.metrics) == ("vote=union", None, ("coins_test/accuracy",))
    assert rows(loaded) == [("vote=union", 0), ("vote=union", 1), ("vote=majority", 0), ("vote=majority", 1)]
    assert loaded.variant("vote=majority").config.credit.vote == "majority"
    assert loaded.trials[2].config == loaded.variant("vote=majority").config


def test_a_variant_that_is_not_there(plan: Load, demo: str) -> None:
    with pytest.raises(KeyError, match="nobody"):
        plan(demo).variant("nobody")


def test_a_profile_replaces_the_keys_that_it_gives(plan: Load, demo: str) -> None:
    loaded = plan(demo + PROFILES, "full")
    assert rows(loaded) == [("vote=average", seed) for seed in range(4)]
    assert loaded.baseline == "vote=average"
    assert loaded.metrics == ("coins_longer/steps",)
    assert loaded.trials[0].config.train.steps == 7
    assert loaded.trials[0].config.credit.critiques == 4


def test_what_a_profile_does_not_give_stays(plan: Load, demo: str) -> None:
    loaded = plan(demo + PROFILES, "more")
    assert [variant.name for variant in loaded.variants] == ["vote=union", "vote=majority", "start"]
    assert loaded.start == "start"
    assert loaded.trials[0].config.train.steps == 50


def test_quick_is_the_study_as_written_unless_it_says_otherwise(plan: Load, demo: str) -> None:
    assert plan(demo).trials == plan(demo + "profiles: {quick: {}}\n").trials
    assert len(plan(demo + "profiles: {quick: {seeds: [7]}}\n").trials) == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.steps=7", 7),
        ("train.learning_rate=2e-3", 2e-3),
        ("credit.segmenter=lines", "lines"),
        ("train.kl=1", 1.0),
    ],
)
def test_set_reads_yaml(plan: Load, demo: str, text: str, value: object) -> None:
    section, _, name = text.partition("=")[0].partition(".")
    for trial in plan(demo, sets=[text]).trials:
        assert getattr(getattr(trial.config, section), name) == value


def test_set_of_lists_and_mappings(plan: Load, demo: str) -> None:
    sets = [
        "evaluation.tasks=[coins_test, coins_longer]",
        "critic={name: noisy, miss: 0.5}",
        "cold_start=",
        "backbone=qwen2.5-1.5b",
    ]
    config = plan(demo, sets=sets).trials[0].config
    assert config.evaluation.tasks == ("coins_test", "coins_longer")
    assert config.critic.model_dump() == {"name": "noisy", "miss": 0.5, "false_alarm": 0.3}
    assert config.cold_start is None


def test_set_is_over_the_profile_and_under_a_variants_own_value(plan: Load, demo: str) -> None:
    text = demo + PROFILES + "include: [{name: own, set: {train.steps: 3}}]\n"
    loaded = plan(text, "full", sets=["train.steps=9"])
    steps = {variant.name: variant.config.train.steps for variant in loaded.variants}
    assert steps == {"vote=average": 9, "own": 3}


def test_set_changes_ids_only_where_it_matters(plan: Load, demo: str) -> None:
    text = demo + "include: [{name: start, set: {method: sft}}]\n"
    before, after = plan(text), plan(text, sets=["train.steps=9"])
    same = [a.variant for a, b in zip(before.trials, after.trials, strict=True) if a.id == b.id]
    assert same == ["start", "start"]


@pytest.mark.parametrize(
    ("only", "left"),
    [
        (["vote=union"], [("vote=union", 0), ("vote=union", 1)]),
        (["vote=m*"], [("vote=majority", 0), ("vote=majority", 1)]),
        (["seed=1"], [("vote=union", 1), ("vote=majority", 1)]),
        (["vote=m*", "seed=0"], [("vote=majority", 0)]),
        (["vote=m*", "vote=u*", "seed=0"], [("vote=union", 0), ("vote=majority", 0)]),
        (["seed=*", "vote=union"], [("vote=union", 0), ("vote=union", 1)]),
    ],
)
def test_only_keeps_trials_and_all_variants(
    plan: Load, demo: str, only: list[str], left: list[tuple[str, int]]
) -> None:
    loaded = plan(demo, only=only)
    assert rows(loaded) == left
    assert [variant.name for variant in loaded.variants] == ["vote=union", "vote=majority"]
    assert {trial.id for trial in loaded.trials} <= {trial.id for trial in plan(demo).trials}


def test_only_takes_a_name_with_brackets_as_it_is(plan: Load, demo: str) -> None:
    text = demo.replace("credit.vote: [union, majority]", "cold_start.operations: [[2, 3], [2, 4]]")
    text = text.replace("vote=union", "'operations=[2,3]'")
    assert rows(plan(text, only=["operations=[2,3]"])) == [("operations=[2,3]", 0), ("operations=[2,3]", 1)]


def test_a_question_of_several_lines_is_one_line(plan: Load, demo: str) -> None:
    assert plan(demo.replace("Does the vote matter?", ">\n  Does it\n  matter?")).question == "Does it matter?"


def test_a_bare_name_is_a_shipped_study_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_plan("voting").file == "ablations/voting.yaml"
    assert "voting" in list_shipped_studies()


def test_every_shipped_study_is_valid() -> None:
    for name in list_shipped_studies():
        assert {"quick"} <= {plan.profile for plan in check_study(name)}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("votin", "votin: no such file (did you mean the shipped study 'voting'?)"),
        ("ablations/voting.yaml", "ablations/voting.yaml: no such file (did you mean the shipped study 'voting'?)"),
    ],
)
def test_a_path_that_is_not_there_names_the_nearest_shipped_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyErrors) as caught:
        load_plan(name)
    assert str(caught.value) == told


def test_a_path_like_nothing_shipped(tmp_path: Path) -> None:
    with pytest.raises(StudyErrors, match=r"no such file \(shipped studies: .*voting"):
        load_plan(tmp_path / "qqq.yaml")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StudyErrors, match="a folder, where a study file is wanted"):
        load_plan(tmp_path)


def test_a_variant_may_be_measured_on_more_than_the_baseline(plan: Load, demo: str) -> None:
    more = "include: [{name: more, set: {credit.critiques: 2, evaluation.tasks: [coins_test, aime24]}}]\n"
    assert plan(demo + more).variants[-1].config.evaluation.tasks == ("coins_test", "aime24")


LOOKS = "seeds: {from: 2, to: 4, looks: [2, 4]}"


def test_a_plan_with_looks_has_the_trials_that_the_last_look_may_call_for(plan: Load, demo: str) -> None:
    looked, fixed = plan(demo.replace("seeds: [0, 1]", LOOKS)), plan(demo.replace("[0, 1]", "[0, 1, 2, 3]"))
    assert looked.looks == (2, 4)
    assert looked.trials == fixed.trials  # and so have the same ids
    assert [trial.seed for trial in looked.first_look.trials] == [0, 1, 0, 1]


def test_a_plan_with_looks_is_the_same_after_it_was_kept(plan: Load, demo: str) -> None:
    looked = plan(demo.replace("seeds: [0, 1]", LOOKS))
    assert Plan.from_json(looked.as_json()).looks == (2, 4)


def test_seeds_that_somebody_picks_are_fixed(plan: Load, demo: str) -> None:
    text = demo.replace("seeds: [0, 1]", LOOKS)
    assert plan(text, only=["seed=3"]).looks == plan(text, sets=["seeds=3"]).looks == ()
    assert plan(text, only=["vote=union"]).looks == (2, 4)


def test_a_profile_may_have_looks(plan: Load, demo: str) -> None:
    assert plan(demo + f"profiles: {{full: {{{LOOKS}}}}}\n", profile="full").looks == (2, 4)
