"""Which model a word names."""

import shutil

import pytest

from capo_bench.evaluation.models import find_model, fingerprint_weights
from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home, write_json
from capo_bench.study.identity import add_seed, hash_cold_start, hash_plain, identify_trial, make_trial_id
from capo_bench.study.plan import Trial
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def trial(home, name, method="capo", backbone="tiny", model=True, cold_start=True):
    folder = home.trial(name)
    cold_start = {"key": "0123456789ab"} if cold_start else None
    config = {"method": method, "backbone": backbone}
    write_json(folder.config, {"id": name, "config": config, "identity": {"training": {"cold_start": cold_start}}})
    folder.steps.parent.mkdir(parents=True, exist_ok=True)
    folder.steps.write_text("", encoding="utf-8")
    if model:
        folder.model.mkdir()
    return folder


def test_a_trial_is_known_by_its_id_the_beginning_of_it_or_its_folder(home):
    folder = trial(home, "3f9c2a0d1b5e")
    for word in ("3f9c2a0d1b5e", "3f9c", str(folder.path)):
        found = find_model(word, home)
        assert (found.model, found.trial) == (str(folder.model), "3f9c2a0d1b5e")
        assert found.settings == {"template": "bare", "dtype": "float32"}


def test_the_template_of_a_trial_is_that_of_its_backbone(home):
    trial(home, "aaaa00000000", backbone="qwen2.5-1.5b")
    assert find_model("aaaa", home).settings == {"template": "chat", "dtype": "bfloat16"}


def test_a_method_that_trains_nothing_has_its_cold_start(home):
    trial(home, "bbbb00000000", method="sft", model=False)
    start = home.stage("cold_start", "0123456789ab")
    start.mkdir(parents=True)
    assert find_model("bbbb", home).model == str(start)


def test_a_method_that_trains_nothing_on_a_model_of_the_hub_has_that(home):
    trial(home, "eeee00000000", method="sft", backbone="qwen2.5-1.5b", model=False, cold_start=False)
    found = find_model("eeee", home)
    assert found.model == BACKBONES.load("qwen2.5-1.5b").model
    assert found.settings.get("revision") == BACKBONES.load("qwen2.5-1.5b").revision


def test_a_trial_without_a_model_and_a_word_for_two_are_refused(home):
    trial(home, "cccc00000000", model=False)
    with pytest.raises(RefusedError, match=r"trial cccc00000000 has no model in .* yet; finish its study first"):
        find_model("cccc", home)
    trial(home, "cccc00000001")
    with pytest.raises(RefusedError, match=r"2 trials of .* begin so .cccc00000000, cccc00000001.; write more"):
        find_model("cccc", home)


@pytest.mark.parametrize("word", ["Qwen/Qwen2.5-1.5B", "gpt2", "dddd", "./folder"])
def test_another_word_stands_for_itself(word, home):
    assert find_model(word, home).model == word


def test_a_folder_is_known_by_its_content(policy, tmp_path):
    copied = shutil.copytree(policy, tmp_path / "elsewhere")
    assert fingerprint_weights(policy, None) == fingerprint_weights(str(copied), None)
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert fingerprint_weights(policy, None) != fingerprint_weights(str(copied), None)
    assert fingerprint_weights("org/name", "v1") == {"model": "org/name", "revision": "v1"}


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json", "chat_template.jinja"])
def test_settings_and_chat_template_are_part_of_a_folder(name, policy, tmp_path):
    copied = shutil.copytree(policy, tmp_path / "elsewhere")
    path = copied / name
    path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert fingerprint_weights(policy, None) != fingerprint_weights(str(copied), None)


def test_a_trial_whose_record_is_broken_is_refused(home):
    folder = trial(home, "abcd00000000")
    for broken in ("{", "[]", "{}"):
        folder.config.write_text(broken)
        with pytest.raises(RefusedError, match=r"config\.json is no record of a trial .*run its study again"):
            find_model("abcd", home)


def test_a_record_as_the_runner_writes_it_names_its_cold_start(home):
    config = TrialConfig(method="sft")
    parts = identify_trial(config)
    made = Trial(make_trial_id(hash_plain(parts), 0), "cold_start", 0, config, add_seed(parts, 0))
    folder = home.trial(made.id)
    folder.path.mkdir(parents=True)
    write_json(folder.config, made.as_json())
    write_json(folder.provenance, {})
    start = home.stage("cold_start", hash_cold_start(config))
    start.mkdir(parents=True)
    assert find_model(made.id, home).model == str(start)
