"""Hours, GPU hours, critic tokens and money of trials on GPUs, worked out by hand from stated throughputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from capo_bench.study.errors import StudyError
from capo_bench.study.estimate import count_allowed_steps, estimate
from capo_bench.study.gpu_time import GpuTime, Machine, count_step_tokens, estimate_trial_time
from capo_bench.study.load import check_study
from capo_bench.study.plan import Plan
from trainers.backbones import BACKBONES
from trainers.config import TrialConfig
from trainers.critics.endpoint import EndpointParams

Load = Callable[..., Plan]
N = 1_543_714_304
CRITIC = {"name": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "max_tokens": 100, "parameters": 1e9}
# A GPU of 10¹² operations a second, of which each kind of work reaches a round share.
ROUND = Machine(tflops=1, update=0.5, read=1.0, write=0.1, prompt_tokens=10, rollout_tokens=30, critique_tokens=20)


def trial(**changes: Any) -> TrialConfig:
    settings = {
        "backbone": "qwen2.5-1.5b",
        "cold_start": None,
        "critic": CRITIC,
        "credit": {"critiques": 2},
        "train": {"steps": 5, "prompts_per_step": 2, "group_size": 4, "micro_batch": 4},
        "evaluation": {"tasks": ["gsm8k", "amc23"], "problems": 100},
    }
    return TrialConfig.model_validate({**settings, **changes})


def test_the_parameters_are_those_of_the_backbone() -> None:
    planned = BACKBONES.load("qwen2.5-1.5b").planned
    assert planned is not None
    assert planned.parameters == N


def test_tokens_of_a_step_by_hand() -> None:
    tokens = count_step_tokens(trial(), ROUND)
    # 8 rollouts; vLLM reads the prompt of a group once; the critic reads problem, rollout and 400 tokens of its own.
    assert (tokens.sampled, tokens.prompts, tokens.prefilled) == (8 * 30, 8 * 10, 2 * 10)
    assert (tokens.read, tokens.written) == (8 * (10 + 30 + 400), 8 * 2 * 20)
    unasked = count_step_tokens(trial(method="grpo_rule"), ROUND)
    assert (unasked.read, unasked.written) == (0, 0)
    usual = count_step_tokens(trial(), Machine())
    assert usual.sampled == 8 * 96 / 2  # half of train.max_completion_tokens, and of the critic's max_tokens
    assert usual.written == 8 * 2 * 50


def test_continuations_for_monte_carlo_values_by_hand() -> None:
    config = trial(method="vineppo", values={"samples": 9})
    tokens = count_step_tokens(config, ROUND)
    # 8 rollouts of 8 steps: the states before them are half a rollout long on average, and so is what follows.
    assert (tokens.continued_read, tokens.continued_written) == (64 * (10 + 15), 64 * 9 * 15)
    time, plain = (
        estimate_trial_time(config, ROUND, steps=5),
        estimate_trial_time(trial(method="grpo_rule"), ROUND, steps=5),
    )
    assert time is not None
    assert plain is not None
    assert time.continuations == pytest.approx(5 * 2 * N * (1600 / 1.0 + 8640 / 0.1) / 1e12)
    assert time.total == pytest.approx(plain.total + time.continuations)
    assert count_step_tokens(trial(method="oracle"), ROUND).continued_written == 64 * 200 * 15


def test_seconds_of_a_trial_by_hand() -> None:
    time = estimate_trial_time(trial(), ROUND, steps=5)
    assert time is not None
    tera = 1e12
    assert time.sampling == pytest.approx(5 * 2 * N * (20 / 1.0 + 240 / 0.1) / tera)
    # 6 operations a parameter, 2 for what checkpointing computes again, 2 to score what vLLM sampled.
    assert time.updates == pytest.approx(5 * 10 * N * (240 + 80) / (0.5 * tera))
    assert time.critic == pytest.approx(5 * 2e9 * (3520 / 1.0 + 320 / 0.1) / tera)
    answers = 100 * 1 + 40 * (32 + 1)  # gsm8k greedily, amc23 has 40 problems and 32 samples of each
    assert time.evaluation == pytest.approx(2 * N * answers * (10 / 1.0 + 30 / 0.1) / tera)
    assert time.total == time.sampling + time.updates + time.critic + time.evaluation
    assert estimate_trial_time(trial(), ROUND, steps=0) == GpuTime(0, 0, 0, time.evaluation)


def test_gpus_share_the_work_and_the_critic_has_its_own() -> None:
    one = estimate_trial_time(trial(), ROUND, 5)
    four = estimate_trial_time(trial(), ROUND.model_copy(update={"critic_gpus": 4}), 5)
    two = estimate_trial_time(trial(backbone="qwen3-4b"), ROUND, 5)
    assert one is not None
    assert four is not None
    assert two is not None
    assert four == GpuTime(one.sampling, one.updates, one.critic / 4, one.evaluation)
    larger = 4_022_468_096 / N
    assert two.sampling == pytest.approx(one.sampling * larger)  # one GPU samples, two update
    assert two.updates == pytest.approx(one.updates * larger / 2)


@pytest.mark.parametrize(
    "critic",
    [{**CRITIC, "parameters": None}, {"name": "transformers", "model": "org/critic"}],
)
def test_no_time_where_the_size_of_the_critic_is_not_known(critic: dict[str, Any]) -> None:
    assert estimate_trial_time(trial(critic=critic), ROUND, 5) is None
    assert estimate_trial_time(trial(critic=critic, method="grpo_rule"), ROUND, 5) is not None


def test_a_budget_ends_training_on_gpus_too() -> None:
    def steps(**budget: float) -> int | None:
        return count_allowed_steps(
            trial(train={"steps": 99, "group_size": 4, "prompts_per_step": 2, "budget": budget}), ROUND
        )

    assert steps(policy_tokens=1000) == 5  # 240 a step
    assert steps(total_tokens=2 * int(320 + 3840 * 1e9 / N)) == 2
    once = estimate_trial_time(trial(), ROUND, 1)
    assert once is not None
    assert steps(seconds=2.5 * (once.total - once.evaluation)) == 3


STUDY = f"""\
name: demo
question: Which?
baseline: b
base:
  backbone: qwen2.5-1.5b
  cold_start: null
  critic: {CRITIC}
  train: {{steps: 5, prompts_per_step: 2, group_size: 4, micro_batch: 4}}
  evaluation: {{tasks: [gsm8k]}}
include:
  - {{name: a, set: {{method: capo}}}}
  - {{name: b, set: {{method: grpo_rule}}}}
seeds: [0, 1]
metrics: [gsm8k/accuracy]
machine: {{tflops: 1, gpu_hour: 2.5}}
"""


def test_a_plan_adds_its_trials_up(plan: Load) -> None:
    planned = plan(STUDY)
    machine = Machine(tflops=1, gpu_hour=2.5)
    asking, plain = (estimate_trial_time(planned.variant(name).config, machine, 5) for name in "ab")
    assert asking is not None
    assert plain is not None
    taken = estimate(planned)
    work = 2 * (asking.total + plain.total)
    assert (taken.unknown, taken.seconds) == (0, pytest.approx(work))
    gpu = taken.gpu
    assert gpu is not None
    assert gpu.gpus == 2  # one trains, one is the critic's from begin to end
    assert gpu.wall_seconds == pytest.approx(work)
    assert gpu.gpu_hours == pytest.approx(2 * work / 3600)
    assert gpu.money == pytest.approx(2.5 * gpu.gpu_hours)
    assert gpu.parts["critic"] == pytest.approx(2 * asking.critic)
    tokens = count_step_tokens(planned.variant("a").config, machine)
    assert (gpu.critic_read, gpu.critic_written) == (2 * 5 * tokens.read, 2 * 5 * tokens.written)


def test_side_by_side_trials_wait_for_the_critic_that_they_share(plan: Load) -> None:
    taken = estimate(plan(STUDY.replace("gpu_hour: 2.5", "gpus: 9")))
    assert taken.gpu is not None
    assert taken.gpu.money is None
    longest = max(seconds for seconds, _ in taken.waits)
    assert taken.gpu.wall_seconds == pytest.approx(max(taken.gpu.parts["critic"], longest))
    slow = estimate(
        plan(STUDY.replace("gpu_hour: 2.5", "gpus: 9").replace("'parameters': 1000000000.0", "'parameters': 7e12"))
    )
    assert slow.gpu is not None
    assert slow.gpu.wall_seconds == pytest.approx(slow.gpu.parts["critic"])


def test_an_endpoint_that_is_paid_by_its_tokens(plan: Load) -> None:
    priced = STUDY.replace("'parameters'", "'price': {prompt: 1, cached: 0.5, output: 4}, 'parameters'")
    gpu = estimate(plan(priced.replace("gpu_hour: 2.5", "critic_gpus: 0"))).gpu
    assert gpu is not None
    assert gpu.gpus == 1
    assert gpu.money == pytest.approx((gpu.critic_read + 4 * gpu.critic_written) / 1e6)


def test_what_a_study_states_decides_no_result(plan: Load) -> None:
    ids = [one.id for one in plan(STUDY).trials]
    assert [one.id for one in plan(STUDY.replace("tflops: 1", "tflops: 312")).trials] == ids


def test_a_wrong_throughput_is_told_with_its_line(errors: Callable[..., list[StudyError]]) -> None:
    [found] = errors(STUDY.replace("tflops: 1", "update: 30"))
    assert "study.yaml:15" in str(found)
    assert "update" in str(found)


@pytest.mark.parametrize("name", ["voting", "main"])
def test_the_profile_gpu_takes_one_gpu_a_day_by_what_it_states(name: str) -> None:
    [planned] = [one for one in check_study(name) if one.profile == "gpu"]
    gpu = estimate(planned).gpu
    assert gpu is not None
    assert gpu.gpus == 1
    critics = [trial.config.critic for trial in planned.trials if isinstance(trial.config.critic, EndpointParams)]
    assert critics
    assert all(critic.serve is not None and critic.serve.gpus == 0 for critic in critics)
    assert gpu.wall_seconds <= 24 * 3600
