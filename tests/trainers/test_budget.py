"""Budgets: what counts, when training ends, and that a run that was stopped ends at the same step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from capo_bench.analysis.curves import AXES, sum_spending
from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import load_plan
from evals.coins import COINS
from trainers import grpo_rule
from trainers.budget import BudgetConfig, Meter
from trainers.checkpoints import find_newest
from trainers.config import TrainConfig
from trainers.critics.base import Surroundings
from trainers.critics.endpoint import EndpointParams
from trainers.critics.exact import ExactParams
from trainers.critics.local import TransformersParams

RECORDS = [{"policy_tokens": 300.0, "seconds": 1.5}, {"policy_tokens": 200.0, "seconds": 2.0}]


def test_spending_is_a_share_of_what_is_limited() -> None:
    assert BudgetConfig(policy_tokens=1000).share(RECORDS) == 0.5  # (300 + 200) / 1000
    assert BudgetConfig(policy_tokens=500).share(RECORDS) == 1.0
    assert BudgetConfig(seconds=7).share(RECORDS) == 0.5  # (1.5 + 2) / 7
    assert BudgetConfig(seconds=7).share([]) == 0.0


@pytest.mark.parametrize("limits", [{}, {"policy_tokens": 10, "seconds": 1.0}, {"total_tokens": 1, "seconds": 1.0}])
def test_a_budget_is_exactly_one_limit(limits: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="set one of policy_tokens, total_tokens, train_flops, seconds"):
        BudgetConfig(**limits)


def test_total_tokens_and_operations_by_hand() -> None:
    step = {"policy_tokens": 100.0, "policy_prompt_tokens": 40.0, "policy_prefill_tokens": 10.0, "critic_tokens": 50.0}
    # A critic twice the policy's size: 100 + 40 + 50 · 2 tokens. Sampled: 2·10·(100 + 10), a group of four reads its
    # prompt once; passed forward and backward: 6·10·(100 + 40); criticised: 2·20·50 operations.
    assert spent_by(10, 20, step) == (240.0, 2_200.0 + 8_400.0 + 2_000.0)
    assert spent_by(10, 0, step) == (140.0, 10_600.0)  # a checker
    each = step | {"policy_prefill_tokens": 40.0}  # each rollout's prompt is read
    assert spent_by(10, 0, each) == (140.0, 8 * 10 * 140.0)
    assert spent_by(10, 0, {"policy_tokens": 100.0}) == (100.0, 8_000.0)
    # 30 tokens of continuations are sampled and not trained on.
    assert spent_by(10, 20, step | {"value_tokens": 30.0}) == (270.0, 2_800.0 + 8_400.0 + 2_000.0)
    # Two updates, and a pass forward for the probabilities under the policy that sampled: (6 · 2 + 2)·10·140.
    twice = Meter(10, 20, updates=2).read(step)
    assert (twice["total_tokens"], twice["train_flops"]) == (380.0, 2_200.0 + 19_600.0 + 2_000.0)
    assert Meter(10, None).read(step) == {}  # nobody said how large it is: no number, never 0
    assert BudgetConfig(total_tokens=480).share([step | Meter(10, 20).read(step)]) == 0.5
    assert BudgetConfig(train_flops=25_200).shares([step | Meter(10, 20).read(step)] * 2) == [0.5, 1.0]


def spent_by(policy: int, critic: int, step: dict[str, float]) -> tuple[float, float]:
    """Return total tokens and operations."""
    found = Meter(policy, critic).read(step)
    assert (found["policy_parameters"], found["critic_parameters"]) == (policy, critic)
    return found["total_tokens"], found["train_flops"]


@pytest.mark.parametrize("flops", [0, 0.0, -1e12, float("inf"), float("nan")])
def test_a_budget_of_no_operations_is_refused(flops: float) -> None:
    with pytest.raises(ValidationError, match="train_flops"):
        BudgetConfig(train_flops=flops)


def test_a_model_in_a_folder_is_counted(start: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(start)
    named = TransformersParams(name="transformers", model=start)
    assert named.size_known
    assert named.size(Surroundings(COINS, 0)) == sum(weight.numel() for weight in model.parameters())
    assert TransformersParams(name="transformers").size(Surroundings(COINS, 0, Path(start))) is not None


def test_a_model_elsewhere_is_as_large_as_the_settings_say() -> None:
    url = {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    told, untold = EndpointParams.model_validate({**url, "parameters": 72.7e9}), EndpointParams.model_validate(url)
    assert (told.size_known, told.size(Surroundings(COINS, 0))) == (True, 72_700_000_000)
    assert (untold.size_known, untold.size(Surroundings(COINS, 0))) == (False, None)
    assert told.identity() == untold.identity()  # it decides nothing of what the critic says
    assert ExactParams().size(Surroundings(COINS, 0)) == 0


STUDY = """
name: s
question: q?
baseline: grpo
base:
  backbone: qwen3-1.7b
  cold_start: null
  benchmark: math
  train: {budget: {total_tokens: 1000}}
  critic: {name: openai, model: judge, base_url: "http://127.0.0.1:1/v1"}
include:
  - name: capo
    set: {method: capo}
  - name: grpo
    set: {method: grpo_rule}
"""


def test_a_budget_that_weighs_a_critic_of_unknown_size_is_refused_with_a_way_out(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(STUDY)
    with pytest.raises(StudyErrors, match=r"s.yaml:10: variant 'capo': .* nothing says how large 'judge' is.*72.7e9"):
        load_plan(str(file), "quick", (), ())
    file.write_text(STUDY.replace('/v1"}', '/v1", parameters: 7e9}'))
    plan = load_plan(str(file), "quick", (), ())
    other = load_plan(str(file), "quick", ("critic.parameters=8e9",), ())
    ids = [{trial.variant: trial.id for trial in one.trials if trial.seed == 0} for one in (plan, other)]
    assert ids[0]["capo"] != ids[1]["capo"]  # it decides when training ends
    assert ids[0]["grpo"] == ids[1]["grpo"]


def test_what_was_spent_by_each_step_is_an_axis() -> None:
    found = sum_spending([{**step, "total_tokens": 1.0} for step in RECORDS])
    assert found["steps"].tolist() == [1, 2]
    assert found["policy_tokens"].tolist() == [300, 500]
    assert found["seconds"].tolist() == [1.5, 3.5]
    assert "train_flops" not in found
    assert set(found) < set(AXES)
    assert all(not axis.size for axis in sum_spending([]).values())


def test_a_schedule_over_steps_does_not_go_with_a_budget() -> None:
    with pytest.raises(ValidationError, match="set schedule to constant"):
        TrainConfig(schedule="cosine", budget=BudgetConfig(seconds=1))


def test_training_ends_with_the_step_that_reaches_the_budget_also_after_a_stop(make_run: Any) -> None:
    torch.set_num_threads(1)
    train = {"steps": 4, "prompts_per_step": 2, "group_size": 4, "max_completion_tokens": 24}
    run, free = make_run(name="free", train=train)
    assert grpo_rule.train(run)
    limit = int(free[0]["policy_tokens"] + free[1]["policy_tokens"] + 1)  # one token of the third step
    train["budget"] = {"policy_tokens": limit}
    whole, records = make_run(name="whole", train=train)
    assert grpo_rule.train(whole)
    assert [record["step"] for record in records] == [1, 2, 3]
    assert records[1]["budget_share"] < 1 <= records[2]["budget_share"]
    assert records[0]["total_tokens"] == records[0]["policy_tokens"] + records[0]["policy_prompt_tokens"]
    broken, parts = make_run(name="broken", train=train)
    assert not grpo_rule.train(replace(broken, stop=lambda: len(parts) == 2))
    point = find_newest(broken.out)
    assert point is not None
    assert grpo_rule.train(replace(broken, resume=str(point.path)))
    assert [record["step"] for record in parts] == [1, 2, 3]
    name = "model.safetensors"
    assert (broken.model / name).read_bytes() == (whole.model / name).read_bytes()
