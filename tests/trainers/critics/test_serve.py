"""The settings of a critic that the harness serves: what they exclude, what of them decides what it says."""

import pytest
from pydantic import ValidationError

from evals.coins import COINS
from trainers.config import TrialConfig
from trainers.critics.base import EmbeddedCriticConfig, Surroundings
from trainers.critics.endpoint import EndpointParams
from trainers.critics.serve import URL
from trainers.teaching import add_trial_seed

SERVER = {"base_url": "http://127.0.0.1:8000/v1"}


def served(model="org/critic", serve=(), **more):
    return EndpointParams.model_validate({"name": "openai", "model": model, "serve": dict(serve), **more})


def refused(**settings):
    with pytest.raises(ValidationError) as error:
        EndpointParams.model_validate({"name": "openai", "model": "org/critic", **settings})
    return str(error.value)


def test_a_critic_is_either_served_or_reached():
    assert "both base_url and serve are set; set base_url for a server that runs already" in refused(**SERVER, serve={})
    assert "neither base_url nor serve is set" in refused()
    assert served().base_url is None


def test_whole_copies_of_the_model_share_the_gpus():
    serve = {"gpus": 6, "tensor_parallel_size": 4}
    assert "gpus 6 is no multiple of tensor_parallel_size 4" in refused(serve=serve)
    assert served(serve=serve | {"gpus": 8}).serve.gpus == 8


def test_a_server_on_the_gpus_of_trials_says_what_it_takes_of_them():
    assert "set gpu_memory_utilization, as in 0.4, or gpus to 1 or more" in refused(serve={"gpus": 0})
    assert served(serve={"gpus": 0, "gpu_memory_utilization": 0.4}).serve.gpu_memory_utilization == 0.4


def test_the_policy_is_not_served():
    assert "serve serves one model for all trials, and 'policy' is another for each start" in refused(
        model="policy", serve={}
    )


def test_where_and_how_fast_the_server_runs_decides_nothing_of_what_the_critic_says():
    fast = {"gpus": 4, "tensor_parallel_size": 4, "gpu_memory_utilization": 0.5, "max_num_seqs": 8}
    assert served(serve=fast).identity() == served().identity()
    assert served(serve={"quantization": "fp8"}).identity() != served().identity()


def test_how_the_embedded_critic_is_taught_decides_where_that_is_served():
    lesson = {"embedded": {"steps": 3}}
    assert served("embedded").embedded_critic == EmbeddedCriticConfig()
    assert served("embedded", **lesson).identity() != served("embedded").identity()
    assert served(**lesson).identity() == served().identity()
    assert served().embedded_critic is None
    reached = EndpointParams.model_validate({"name": "openai", "model": "embedded", **SERVER})
    assert reached.embedded_critic is None
    assert not {"serve", "embedded"} & reached.identity().keys()


def test_each_seed_of_a_study_can_have_its_own_served_critic():
    config = TrialConfig(critic=served("embedded", embedded={"seed": "trial"}))
    assert add_trial_seed(config, 7).critic.embedded_critic.seed == 7


def test_settings_survive_the_way_to_a_worker():
    config = TrialConfig(critic=served(serve={"gpus": 0, "gpu_memory_utilization": 0.4}))
    assert TrialConfig.model_validate(config.model_dump(mode="json")) == config


def test_the_critic_is_built_with_the_address_that_the_environment_tells(monkeypatch):
    with pytest.raises(ValueError, match="no server was started for this process; use `capo-bench run`"):
        served().build(Surroundings(COINS, 0))
    monkeypatch.setenv(URL, "http://127.0.0.1:1234/v1")
    assert served().build(Surroundings(COINS, 0)) is not None


def test_the_size_of_a_served_model_is_that_of_its_files(tmp_path):
    from safetensors.torch import save_file
    from torch import zeros

    save_file({"w": zeros(10)}, tmp_path / "model.safetensors")
    assert served(str(tmp_path)).size_known
    assert served(str(tmp_path)).size(Surroundings(COINS, 0)) == 10
    assert served("embedded").size(Surroundings(COINS, 0, tmp_path)) == 10
    assert not served().size_known
    assert served(parameters=7e9).size(Surroundings(COINS, 0)) == 7_000_000_000
