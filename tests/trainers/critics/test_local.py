from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from trainers.config import TrialConfig
from trainers.critics.base import EmbeddedCriticConfig, Surroundings
from trainers.critics.local import TransformersParams, VllmParams

LOCAL = pytest.mark.parametrize("params", [TransformersParams, VllmParams])


@LOCAL
def test_the_embedded_model_is_the_default_and_is_taught(params):
    assert params().model == "embedded"
    assert params().embedded_critic == EmbeddedCriticConfig()
    assert params(embedded=EmbeddedCriticConfig(steps=5)).embedded_critic == EmbeddedCriticConfig(steps=5)


@LOCAL
def test_any_other_model_is_taken_as_it_is(params, sums):
    named = params(model="some/model", revision="abc")
    assert named.embedded_critic is None
    assert named.spec(Surroundings(sums, 0)).model == "some/model"


@LOCAL
def test_the_embedded_model_is_found_in_the_surroundings(params, sums, tmp_path):
    assert params().spec(Surroundings(sums, 0, tmp_path)).model == str(tmp_path)
    with pytest.raises(ValueError, match="none was trained"):
        params().build(Surroundings(sums, 0))


@LOCAL
def test_the_embedded_model_has_no_revision(params):
    with pytest.raises(ValidationError, match="leave revision out"):
        params(revision="abc")


@LOCAL
def test_the_policy_is_a_trials_own(params, sums):
    policy = params(model="policy")
    assert (policy.asks_policy, params().asks_policy, params(model="some/model").asks_policy) == (True, False, False)
    assert policy.embedded_critic is None
    assert policy.size_known
    with pytest.raises(ValueError, match=r"this is no trial; set critic\.model to that model"):
        policy.build(Surroundings(sums, 0))
    with pytest.raises(ValidationError, match="has that of the backbone"):
        params(model="policy", revision="abc")


@LOCAL
def test_how_it_is_taught_is_part_of_what_the_embedded_critic_is(params):
    assert params().identity()["embedded"] == EmbeddedCriticConfig().model_dump(mode="json")
    assert params().identity() != params(embedded=EmbeddedCriticConfig(steps=5)).identity()
    other = params(model="some/model")
    assert other.identity() == params(model="some/model", embedded=EmbeddedCriticConfig(steps=5)).identity()


@pytest.mark.parametrize(
    ("params", "settings"),
    [
        (TransformersParams, {"batch_tokens": 7}),
        (VllmParams, {"gpu_memory_utilization": 0.1, "tensor_parallel_size": 2, "enforce_eager": True}),
    ],
)
def test_how_fast_it_runs_is_not(params, settings):
    assert params(**settings).identity() == params().identity()
    assert not settings.keys() & params().identity().keys()


@LOCAL
@pytest.mark.parametrize("change", [{"temperature": 0.5}, {"seed": 1}, {"dtype": "bfloat16"}, {"max_tokens": 9}])
def test_what_decides_the_words_is(params, change):
    assert params(**change).identity() != params().identity()


def test_the_longest_text_of_vllm_cuts_critiques_so_it_is_too():
    assert VllmParams(max_model_len=99).identity() != VllmParams().identity()


@pytest.mark.parametrize(("name", "params"), [("transformers", TransformersParams), ("vllm", VllmParams)])
def test_a_study_names_it(name, params):
    config = TrialConfig.model_validate({"critic": {"name": name, "max_tokens": 128}})
    assert config.critic == params(max_tokens=128)


def test_settings_need_no_model_library():
    code = (
        "import sys; from trainers.config import TrialConfig; TrialConfig.model_validate({'critic': {'name': 'vllm'}})"
    )
    code += "; print({'torch', 'transformers', 'vllm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
