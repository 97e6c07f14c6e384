"""Why two trials differ."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakehome import FakeHome, read_lines, write_lines

from capo_bench.analysis.diff import Change, UnknownTrialError, diff_trials, find_trial, list_changes
from capo_bench.cli import main
from capo_bench.store.home import Home, TrialFolder, read_json, write_json
from capo_bench.study.code import list_definitions
from capo_bench.study.identity import add_seed, identify_trial
from capo_bench.study.plan import Trial
from trainers.config import TrialConfig


def trial(home: FakeHome, variant: str, seed: int = 0) -> TrialFolder:
    planned = next(t for t in home.plan().trials if (t.variant, t.seed) == (variant, seed))
    return home.home.trial(planned.id)


def copied(folder: TrialFolder, to: Path) -> TrialFolder:
    return TrialFolder(Path(shutil.copytree(folder.path, to / "copy")))


def edit(path: Path, section: str, **changes_: object) -> None:
    value = read_json(path)
    value[section] = {**value[section], **changes_}
    write_json(path, value)


def test_a_faithful_rerun_is_the_same_bit_for_bit(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    edit(there.metrics, "cost", wall_seconds=999.0)  # seconds are not a result
    found = diff_trials(here, there)
    assert found.verdict == "same identity, same metrics, bit for bit"
    assert found.stages == ()
    assert (found.settings, found.identity, found.origin, found.results) == ((), (), (), ())


def test_the_last_bit_of_a_metric_counts(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    accuracy = read_json(here.metrics)["metrics"]["coins_test/accuracy"]
    edit(there.metrics, "metrics", **{"coins_test/accuracy": accuracy + 2**-53})
    found = diff_trials(here, there)
    assert found.results == (Change("coins_test/accuracy", accuracy, accuracy + 2**-53),)
    assert found.verdict == "same identity, different results; so the run is not deterministic there"


def test_another_machine_is_told_as_a_reason(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    edit(there.metrics, "metrics", **{"coins_test/accuracy": 0.0})
    edit(there.provenance, "hardware", cores=64)
    found = diff_trials(here, there)
    assert found.origin == (Change("hardware.cores", 2, 64),)
    assert found.verdict == "same identity, different results; they come from different places"


def test_trained_weights_are_a_result_not_a_reason(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    edit(there.provenance, "fingerprints", final_weights="ffff")
    found = diff_trials(here, there)
    assert found.origin == ()
    assert found.results == (Change("final_weights", "0a0a", "ffff"),)
    assert found.verdict == "same identity, different results; so the run is not deterministic there"


def test_samples_that_differ_show_the_first(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    records = read_lines(there.samples("coins_test"))
    records[3]["completion"] = "something else"
    write_lines(there.samples("coins_test"), records)
    (change,) = diff_trials(here, there).results
    assert change.where == "samples/coins_test: 1 of 320 differ, first coins/test/0/3"
    assert change.right == "something else"


def test_samples_that_are_not_there_or_not_as_many(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    write_lines(there.samples("coins_test"), read_lines(there.samples("coins_test"))[:60])
    assert diff_trials(here, there).results == (Change("samples/coins_test", "320 samples", "60 samples"),)
    there.samples("coins_test").unlink()
    assert diff_trials(here, there).results == (Change("samples/coins_test", "there", "absent"),)


def test_two_seeds_differ_in_their_seed(full: FakeHome):
    found = diff_trials(trial(full, "majority", 0), trial(full, "majority", 1))
    assert found.settings == (Change("seed", 0, 1),)
    assert found.identity == ()  # the seed is told once
    assert found.verdict == "different identity (seed), different results"


def test_two_variants_differ_in_their_settings(full: FakeHome):
    found = diff_trials(trial(full, "majority"), trial(full, "intersection"))
    assert found.settings == (Change("credit.vote", "majority", "intersection"),)
    assert found.verdict == "different identity (training), different results"
    assert "coins_test/accuracy" in {change.where for change in found.results}


def test_another_method_brings_parts_of_the_identity(full: FakeHome):
    found = diff_trials(trial(full, "majority"), trial(full, "grpo_rule"))
    assert Change("method", "capo", "grpo_rule") in found.settings
    assert any(change.where.startswith("training.code.") for change in found.identity)


def test_a_setting_that_the_method_ignores_is_no_other_identity(full: FakeHome, tmp_path: Path):
    here = trial(full, "grpo_rule")
    there = copied(here, tmp_path)
    config = read_json(there.config)
    config["config"]["credit"]["vote"] = "union"
    write_json(there.config, config)
    found = diff_trials(here, there)
    assert found.stages == ()
    assert found.settings == (Change("credit.vote", "intersection", "union"),)
    assert found.verdict == "same identity, same metrics, bit for bit"


@pytest.mark.parametrize(
    ("settings", "stages", "where"),
    [
        ({"train": {"steps": 7}}, ("training",), "train.steps"),
        ({"evaluation": {"problems": 7}}, ("generation",), "evaluation.problems"),
        ({"evaluation": {"segmenter": "lines"}}, ("scoring",), "evaluation.segmenter"),
        (
            {"method": "grpo_rule", "evaluation": {"segmenter": "lines"}},
            ("training", "scoring"),
            "evaluation.segmenter",
        ),
    ],
)
def test_it_says_from_which_stage_on_two_trials_part(tmp_path: Path, settings, stages, where):
    sides = []
    base = {"method": settings.get("method", "capo")}
    for name, tree in (("a", base), ("b", settings)):
        config = TrialConfig.model_validate(tree)
        parts = add_seed(identify_trial(config), 0)
        folder = TrialFolder(tmp_path / name)
        write_json(folder.config, Trial(name, "v", 0, config, parts).as_json())
        sides.append(folder)
    found = diff_trials(*sides)
    assert found.stages == stages
    assert [change.where for change in found.settings] == [where]
    assert not [change for change in found.identity if change.where == f"{stages[-1]}.{where}"]
    assert found.verdict == f"different identity ({', '.join(stages)}); not finished: a, b"


def test_code_that_changed_is_told_with_its_stage(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    config = read_json(there.config)
    config["identity"]["scoring"]["code"]["metric accuracy"] = "ffff"
    write_json(there.config, config)
    found = diff_trials(here, there)
    assert [change.where for change in found.identity] == ["scoring.code.metric accuracy"]
    assert found.verdict == "different identity (scoring), the same results"


def test_the_definition_that_changed_is_named(full: FakeHome, tmp_path: Path):
    here = trial(full, "majority")
    there = copied(here, tmp_path)
    config = {**read_json(here.config), "definitions": list_definitions(Trial.from_json(read_json(here.config)).config)}
    write_json(here.config, config)
    training = dict(config["definitions"]["training"])
    vote, moved = "trainers.credit.votes:majority", training.pop("trainers.credit.votes:combine")
    edited = {**training, vote: "ffff", "trainers.elsewhere:_combine": moved}
    write_json(there.config, {**config, "definitions": {**config["definitions"], "training": edited}})
    found = diff_trials(here, there)
    assert found.definitions == (Change(vote, training[vote], "ffff"),), "what only moved is the same"
    shown = CliRunner().invoke(main, ["diff", str(here.path), str(there.path)]).output
    assert f"Definitions\n  {vote}\n    A: '{training[vote]}'\n    B: 'ffff'" in shown


def test_a_trial_that_has_not_finished_is_named(full: FakeHome, tmp_path: Path):
    there = copied(trial(full, "majority"), tmp_path)
    there.metrics.unlink()
    assert diff_trials(trial(full, "majority"), there).verdict == "same identity; not finished: copy"


def test_changes_know_a_bool_from_a_number_and_nan_from_a_difference():
    assert list_changes({"a": 1, "b": 0}, {"a": True, "c": 0}) == (
        Change("a", 1, True),
        Change("b", 0, None),
        Change("c", None, 0),
    )
    assert list_changes({"a": float("nan")}, {"a": float("nan")}) == ()


@pytest.fixture
def ids(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    for name in ("abc111", "abc222", "fff333"):
        write_json(home.trial(name).config, {"id": name, "variant": f"v{name[-1]}", "seed": 0})
    return home


def test_a_trial_is_found_by_id_prefix_or_folder(ids: Home):
    assert find_trial(ids, "abc111").path == ids.trial("abc111").path
    assert find_trial(ids, "f").path == ids.trial("fff333").path
    assert find_trial(Home(ids.path / "elsewhere"), str(ids.trial("abc222").path)).path == ids.trial("abc222").path


def test_an_ambiguous_prefix_names_who_it_fits(ids: Home):
    with pytest.raises(UnknownTrialError) as caught:
        find_trial(ids, "abc")
    assert str(caught.value) == (
        "'abc' is the beginning of 2 trials: abc111 (v1, seed 0), abc222 (v2, seed 0); give more"
    )


@pytest.mark.parametrize(
    ("reference", "hint"),
    [("abc112", "did you mean abc111 (v1, seed 0)"), ("zzz", "trials there: abc111 (v1, seed 0), ")],
)
def test_an_unknown_id_names_candidates(ids: Home, reference: str, hint: str):
    with pytest.raises(UnknownTrialError) as caught:
        find_trial(ids, reference)
    assert hint in str(caught.value)


def test_an_empty_home_says_so(tmp_path: Path):
    with pytest.raises(UnknownTrialError, match="trials there: none"):
        find_trial(Home(tmp_path), "abc")


def test_an_empty_reference_fits_nothing(ids: Home):
    with pytest.raises(UnknownTrialError):
        find_trial(ids, "")
