from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainers.config import ColdStartConfig, CreditConfig, TrainConfig, TrialConfig
from trainers.critics.exact import ExactParams
from trainers.critics.noisy import NoisyParams


def refused(model, values):
    """Return where and why the values are refused."""
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


def test_a_trial_that_sets_nothing_is_capo_on_coins():
    config = TrialConfig()
    assert (config.method, config.backbone, config.benchmark) == ("capo", "tiny", "coins")
    assert config.critic == ExactParams()
    # The paper's: W_whole = 2, W_process = 1, intersection of 4 critiques.
    assert (config.credit.w_whole, config.credit.w_process) == (2.0, 1.0)
    assert (config.credit.critiques, config.credit.vote) == (4, "intersection")


def test_a_trial_survives_json():
    values = {"critic": {"name": "noisy"}, "cold_start": None, "evaluation": {"tasks": ["coins_test"]}}
    config = TrialConfig.model_validate(values)
    assert isinstance(config.critic, NoisyParams)
    assert TrialConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"metod": "capo"}, "metod"),
        ({"credit": {"voting_rle": "union"}}, "credit.voting_rle"),
        ({"cold_start": {"stpes": 3}}, "cold_start.drawn.stpes"),
        ({"critic": {"name": "exact", "k": 3}}, "critic.exact.k"),
        ({"evaluation": {"task": "coins_test"}}, "evaluation.task"),
    ],
)
def test_an_unknown_key_is_refused_where_it_stands(values, where):
    assert [place for place, _ in refused(TrialConfig, values)] == [where]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "capoo"}, "unknown method 'capoo' (did you mean 'capo'?)"),
        ({"backbone": "tinny"}, "unknown backbone 'tinny' (did you mean 'tiny'?)"),
        ({"benchmark": "coin"}, "unknown benchmark 'coin' (did you mean 'coins'?)"),
        ({"credit": {"vote": "intersecton"}}, "unknown voting rule 'intersecton' (did you mean 'intersection'?)"),
        ({"credit": {"segmenter": "line"}}, "unknown segmenter 'line' (did you mean 'lines'?)"),
        ({"evaluation": {"segmenter": "line"}}, "unknown segmenter 'line' (did you mean 'lines'?)"),
        ({"evaluation": {"tasks": ["coins_test", "coins_test"]}}, "a task is named twice"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(values, message):
    assert [said.removeprefix("Value error, ")[: len(message)] for _, said in refused(TrialConfig, values)] == [message]


def test_an_unknown_critic_lists_those_there_are():
    ((place, message),) = refused(TrialConfig, {"critic": {"name": "exakt"}})
    assert place == "critic"
    assert "'exact'" in message
    assert "'noisy'" in message


def test_all_errors_come_at_once():
    values = {"method": "x", "train": {"steps": 0}, "credit": {"w_whole": -1}}
    assert [place for place, _ in refused(TrialConfig, values)] == ["method", "train.steps", "credit.w_whole"]


@pytest.mark.parametrize("number", ["3", True, 2.5, 0, -1, None])
def test_a_count_is_a_whole_number_from_one(number):
    assert [place for place, _ in refused(TrainConfig, {"steps": number})] == ["steps"]


@pytest.mark.parametrize("bounds", [["2", 6], [2.0, 6], [2], [2, 3, 4], [0, 3], "26"])
def test_bounds_are_two_whole_numbers(bounds):
    assert all(place.startswith("operations") for place, _ in refused(ColdStartConfig, {"operations": bounds}))


def test_bounds_come_as_yaml_writes_them_and_in_order():
    assert ColdStartConfig.model_validate({"operations": [2, 2]}).operations == (2, 2)
    ((_, message),) = refused(ColdStartConfig, {"operations": [6, 2]})
    assert message.endswith("the smaller bound comes first: [2, 6]")


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("key", ["learning_rate", "temperature", "kl", "max_grad_norm"])
def test_a_number_is_finite(key, number):
    assert [place for place, _ in refused(TrainConfig, {key: number})] == [key]


def test_micro_batches_are_whole():
    assert TrainConfig(prompts_per_step=8, group_size=16, micro_batch=32).micro_batch == 32
    ((_, message),) = refused(TrainConfig, {"prompts_per_step": 3, "group_size": 4, "micro_batch": 5})
    assert "3 × group_size 4 = 12 rollouts do not split into micro-batches of 5" in message
    assert "divisor of 12" in message


@given(st.integers(1, 12), st.integers(2, 12), st.integers(1, 200))
def test_a_micro_batch_is_taken_if_and_only_if_it_divides_the_rollouts(prompts, group, micro):
    values = {"prompts_per_step": prompts, "group_size": group, "micro_batch": micro}
    if prompts * group % micro:
        refused(TrainConfig, values)
    else:
        TrainConfig.model_validate(values)


def test_a_group_has_at_least_two_rollouts():
    assert [place for place, _ in refused(TrainConfig, {"group_size": 1})] == ["group_size"]


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"vote": "at_least"}, "takes the number of critiques that must agree; set it"),
        ({"vote": "union", "at_least": 2}, "takes no number; leave at_least out"),
        ({"vote": "at_least", "at_least": 5, "critiques": 4}, "set critiques to 5 or more, or at_least to 4 or fewer"),
        ({"vote": "greedy", "critiques": 4}, "set critiques to 1"),
    ],
)
def test_a_vote_and_its_critiques_fit_together(values, part):
    ((_, message),) = refused(CreditConfig, values)
    assert part in message


@pytest.mark.parametrize(
    "values", [{"vote": "at_least", "at_least": 4}, {"vote": "greedy", "critiques": 1}, {"vote": "average"}]
)
def test_votes_that_fit(values):
    assert CreditConfig.model_validate(values).vote == values["vote"]


def test_a_trial_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        TrialConfig().credit.w_whole = 3.0
