"""Which models training loads beside the policy, and how large they are: by files, or as the settings say."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from capo_bench.study.beside import Beside, count_model_parameters, list_models_beside
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig


@pytest.fixture
def folder(tmp_path):
    """A folder whose files hold 6,000 numbers in all."""
    save_file({"a": torch.zeros(10, 100), "b": torch.zeros(4000)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"c": torch.zeros(1000)}, tmp_path / "model-00002-of-00002.safetensors")
    return tmp_path


def beside(**settings):
    config = {"backbone": "qwen2.5-1.5b", "benchmark": "math", "cold_start": None, **settings}
    return list_models_beside(TrialConfig.model_validate(config))


def test_a_process_reward_model_in_a_folder_is_counted(folder):
    named = {"model": str(folder), "dtype": "bfloat16"}
    for method in ("prm_sum", "prm_min"):
        assert beside(method=method, prm=named) == [Beside("PRM", str(folder), None, 12_000)]
    assert beside(method="prm_sum", prm={"model": str(folder)})[0].weights == 24_000  # float32
    assert beside(method="capo", prm=named) == []  # the exact critic, and nobody asks the other


@pytest.mark.parametrize("method", ["capo", "grpo_genorm", "first_error"])
def test_a_critic_in_the_process_is_counted_in_the_same_way(folder, method):
    critic = {"name": "transformers", "model": str(folder), "dtype": "float16"}
    assert beside(method=method, critic=critic) == [Beside("critic", str(folder), None, 12_000)]
    assert beside(method="prm_sum", critic=critic) == []


def test_a_critic_that_is_the_policy_is_another_copy_of_it():
    backbone = BACKBONES.load("qwen2.5-1.5b")
    (found,) = beside(critic={"name": "transformers", "model": "policy", "dtype": "bfloat16"})
    assert found == Beside("critic", backbone.model, backbone.revision, 2 * 1_543_714_304)


def test_the_embedded_ones_are_not_told_of():
    local = {"name": "transformers"}
    assert beside(critic=local) == beside(method="prm_sum") == []
    assert (
        list_models_beside(TrialConfig.model_validate({"critic": {**local, "model": "policy"}})) == []
    )  # a tiny policy


def test_an_engine_takes_its_share_of_the_gpu_and_weights_take_what_they_are(folder):
    (engine,) = beside(critic={"name": "vllm", "model": str(folder), "gpu_memory_utilization": 0.3})
    assert (engine.held(1000), engine.weights) == (300, 24_000)
    assert beside(critic={"name": "transformers", "model": str(folder)})[0].held(1000) == 24_000
    (elsewhere,) = beside(critic={"name": "vllm", "model": "org/critic", "gpu_memory_utilization": 0.3})
    assert (elsewhere.held(1000), elsewhere.weights) == (300, None)


def test_what_is_on_the_hub_is_as_large_as_the_settings_say_or_of_unknown_size():
    named = {"name": "transformers", "model": "org/critic", "revision": "abc"}
    assert beside(critic={**named, "parameters": 7e9}) == [Beside("critic", "org/critic", "abc", 28_000_000_000)]
    assert beside(critic=named)[0].weights is None
    (prm,) = beside(method="prm_min", prm={"model": "org/prm", "revision": "abc", "format": "qwen"})
    assert prm == Beside("PRM", "org/prm", "abc", None)
    assert prm.held(1000) is None


@pytest.mark.parametrize("dtype, wide", [("float32", 4), ("bfloat16", 2)])
def test_a_process_reward_model_is_as_large_as_its_files_and_until_they_are_there_as_the_settings_say(
    folder, dtype, wide
):
    named = {"dtype": dtype, "parameters": 7.6e9}
    hub = beside(method="prm_min", prm={**named, "model": "org/prm", "revision": "abc"})
    assert hub == [Beside("PRM", "org/prm", "abc", wide * 7_600_000_000)]
    assert beside(method="prm_sum", prm={**named, "model": str(folder)})[0].weights == wide * 6000


def test_what_the_hubs_cache_holds_is_counted_once_all_of_it_is_there(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--org--prm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    kept = repository / "snapshots" / "abc"
    kept.mkdir(parents=True)
    (kept / "config.json").write_text("{}")
    shards = sorted(folder.glob("*.safetensors"))
    weights = dict(zip("ac", (shard.name for shard in shards), strict=True))
    (kept / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    for shard in shards:
        assert count_model_parameters("org/prm", "abc") is None
        (kept / shard.name).write_bytes(shard.read_bytes())
    assert count_model_parameters("org/prm", "abc") == count_model_parameters("org/prm", None) == 6000
    assert count_model_parameters("org/prm", "other") is None
