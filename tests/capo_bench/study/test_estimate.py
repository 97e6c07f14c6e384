"""What a plan takes: critic calls counted by hand, time from the model or from finished trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capo_bench.store.home import Home, write_json
from capo_bench.study.estimate import (
    SECONDS_PER_CRITIQUE,
    SECONDS_PER_DEMONSTRATION,
    SECONDS_PER_LESSON,
    SECONDS_PER_REVIEW,
    SECONDS_PER_ROLLOUT,
    SECONDS_PER_SAMPLE,
    SECONDS_PER_SCORED,
    TOKENS_PER_CRITIQUE,
    TOKENS_PER_ROLLOUT,
    count_allowed_steps,
    count_critic_calls,
    estimate,
    estimate_evaluation_seconds,
    estimate_trial_seconds,
)
from capo_bench.study.identity import hash_training
from capo_bench.study.plan import Plan
from trainers.config import TrialConfig

Load = Callable[..., Plan]

SIZES = """\
  cold_start: {steps: 10, problems_per_step: 4}
  train: {steps: 5, prompts_per_step: 2, group_size: 3}
  evaluation: {tasks: [coins_test, coins_longer], problems: 7, samples: 2}
"""


@pytest.fixture
def small(plan: Load, demo: str) -> Plan:
    return plan(demo.replace("base:\n", f"base:\n{SIZES}"))


def finish(home: Home, trial_id: str, seconds: float) -> None:
    write_json(home.trial(trial_id).metrics, {"metrics": {}, "cost": {"wall_seconds": seconds}})


def test_critic_calls_are_steps_times_prompts_times_group_times_critiques(small: Plan) -> None:
    assert count_critic_calls(small.trials[0].config) == 5 * 2 * 3 * 4
    assert estimate(small).critic_calls == 4 * 120


@pytest.mark.parametrize("method", ["sft", "grpo_rule"])
def test_methods_without_a_critic_call_none(method: str) -> None:
    assert count_critic_calls(TrialConfig.model_validate({"method": method})) == 0


def test_a_process_reward_model_reads_each_rollout_once() -> None:
    train = {"steps": 5, "prompts_per_step": 2, "group_size": 3}
    settings = {"method": "prm_sum", "train": train}
    trial = TrialConfig.model_validate(settings)
    assert count_critic_calls(trial) == 30
    seconds, plain = (
        estimate_trial_seconds(trial),
        estimate_trial_seconds(trial.model_copy(update={"method": "grpo_rule"})),
    )
    assert seconds is not None
    assert plain is not None
    assert seconds - plain == pytest.approx(30 * SECONDS_PER_SCORED)
    other = TrialConfig.model_validate({**settings, "prm": {"model": "org/prm"}})
    assert estimate_trial_seconds(other) is None, "of a model from elsewhere nothing is known"


def test_the_lessons_of_the_embedded_process_reward_model(plan: Load, demo: str) -> None:
    settings = {"method": "prm_min", "prm.embedded": {"steps": 5, "problems_per_step": 4}}
    taken = estimate(plan(demo + f"include: [{{name: prm, set: {settings}}}]\n"))
    seconds = {made.kind: made.seconds for made in taken.preparations}
    assert seconds["prm"] == pytest.approx(5 * 4 * SECONDS_PER_LESSON)


def test_the_model_of_time(small: Plan) -> None:
    trial = 5 * 2 * 3 * SECONDS_PER_ROLLOUT + 7 * 2 * 3 * SECONDS_PER_SAMPLE
    start = 10 * 4 * SECONDS_PER_DEMONSTRATION
    assert estimate_trial_seconds(small.trials[0].config) == pytest.approx(trial)
    taken = estimate(small)
    assert taken.seconds == pytest.approx(4 * trial + start)
    # The cold start is one job, and all wait for it; what follows is shared out.
    assert taken.wall_seconds(1) == pytest.approx(taken.seconds)
    assert taken.wall_seconds(2) == pytest.approx(start + 2 * trial)
    assert (taken.trials, taken.done, taken.measured, taken.unknown) == (4, 0, 0, 0)
    assert [(item.trials, item.done) for item in taken.preparations] == [(4, False)]


def test_finished_trials_tell_the_time_of_their_variant(small: Plan, tmp_path: Path) -> None:
    home = Home(tmp_path)
    finish(home, small.trials[0].id, 100.0)
    home.stage("cold_start", str(small.trials[0].identity["training"]["cold_start"]["key"])).mkdir(parents=True)
    taken = estimate(small, home)
    modelled = estimate_trial_seconds(small.trials[2].config)
    assert modelled is not None
    assert taken.seconds == pytest.approx(100.0 + 2 * modelled)
    assert (taken.done, taken.measured) == (1, 1)
    assert taken.preparations[0].done


def test_what_another_trial_has_trained_is_only_evaluated(plan: Load, small: Plan, demo: str, tmp_path: Path) -> None:
    home, donor = Home(tmp_path), small.trials[0]
    write_json(home.trial(donor.id).config, donor.as_json())
    finish(home, donor.id, 100.0)
    (home.stage("training", hash_training(donor.identity, donor.seed)) / "model").mkdir(parents=True)
    sizes = SIZES.replace("tasks: [coins_test, coins_longer]", "tasks: [coins_test]")
    other = plan(demo.replace("base:\n", f"base:\n{sizes}"))
    home.trial(other.trials[3].id).model.mkdir(parents=True)  # stopped after its own training
    taken = estimate(other, home)
    assert (taken.trials, taken.done, taken.trained, taken.measured) == (4, 0, 2, 0)
    asking = 7 * 3 * SECONDS_PER_SAMPLE
    assert estimate_evaluation_seconds(other.trials[0].config) == pytest.approx(asking)
    start = 10 * 4 * SECONDS_PER_DEMONSTRATION
    assert taken.seconds == pytest.approx(4 * asking + 2 * 5 * 2 * 3 * SECONDS_PER_ROLLOUT + start)
    assert estimate(other).trained == 0


def test_the_start_is_never_trained(plan: Load, demo: str, tmp_path: Path) -> None:
    assert (
        estimate(
            plan(demo.replace("method: capo", "method: sft").replace("[union, majority]", "[union]")), Home(tmp_path)
        ).trained
        == 0
    )


def test_a_finished_plan_takes_no_time(small: Plan, tmp_path: Path) -> None:
    for trial in small.trials:
        finish(Home(tmp_path), trial.id, 10.0)
    taken = estimate(small, Home(tmp_path))
    assert (taken.seconds, taken.done) == (0, 4)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"cost": {"wall_seconds": null}}'])
def test_a_record_that_says_nothing_is_no_guess(small: Plan, tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    path = home.trial(small.trials[0].id).metrics
    path.parent.mkdir(parents=True)
    path.write_text(text)
    taken = estimate(small, home)
    assert (taken.done, taken.measured) == (1, 0)


def test_the_embedded_critic_is_made_once_and_every_critique_takes_its_time(plan: Load, demo: str) -> None:
    planned = plan(demo, sets=["critic={name: transformers}"])
    taken = estimate(planned)
    assert [(made.kind, made.trials, made.done) for made in taken.preparations] == [
        ("cold_start", 4, False),
        ("critic", 4, False),
    ]
    assert taken.preparations[1].seconds == pytest.approx(280 * 64 * SECONDS_PER_REVIEW)
    checked = estimate(plan(demo)).seconds
    made, calls = taken.preparations[1].seconds, taken.critic_calls
    assert calls == sum(count_critic_calls(trial.config) for trial in planned.trials) > 0
    assert made is not None
    assert taken.seconds == pytest.approx(checked + calls * SECONDS_PER_CRITIQUE + made)


def test_what_needs_no_critic_runs_beside_the_critic_in_the_making(plan: Load, demo: str) -> None:
    asked = "include: [{name: asked, set: {method: capo, critic: {name: transformers}}}]\n"
    taken = estimate(plan(demo.replace("base:\n", f"base:\n{SIZES}") + asked))
    start, critic = (made.seconds or 0.0 for made in taken.preparations)
    times = [seconds for seconds, _ in taken.waits]
    plain, read = times[0], times[-1]
    assert times == [plain] * 4 + [read] * 2
    assert critic > start + 4 * plain  # so one worker does all that needs no critic meanwhile
    assert taken.wall_seconds(2) == pytest.approx(critic + read)
    assert taken.wall_seconds(1) == pytest.approx(start + critic + 4 * plain + 2 * read) == taken.seconds


EMBEDDED = {"name": "transformers"}


@pytest.mark.parametrize(
    ("method", "critic", "budget", "steps"),
    [
        # A step of 2 × 3 rollouts is 240 tokens of the policy and 210 of prompts, and 24 critiques are 2,352 more.
        ("grpo_rule", EMBEDDED, {"total_tokens": 1000}, 3),
        ("capo", EMBEDDED, {"total_tokens": 5000}, 2),
        ("capo", EMBEDDED, {"policy_tokens": 1000}, 5),
        ("capo", {"name": "exact"}, {"total_tokens": 1000}, 3),  # a checker weighs nothing
        ("grpo_rule", EMBEDDED, {"seconds": 0.1}, 2),  # 6 × 9.3 ms
        ("capo", EMBEDDED, {"seconds": 0.2}, 3),  # and 24 × 1.8 ms
        ("capo", EMBEDDED, {"total_tokens": 10**9}, 9),  # no more than train.steps
        ("capo", {"name": "transformers", "model": "org/critic", "parameters": 7e9}, {"total_tokens": 1000}, None),
        ("capo", {"name": "transformers", "model": "org/critic"}, {"policy_tokens": 1000}, 5),
        ("capo", {"name": "transformers", "model": "org/critic"}, {"seconds": 1}, None),
    ],
)
def test_a_budget_allows_as_many_steps_as_it_takes_to_spend_it(
    method: str, critic: dict[str, object], budget: dict[str, float], steps: int | None
) -> None:
    assert (TOKENS_PER_ROLLOUT, TOKENS_PER_CRITIQUE) == (40, 98)
    train = {"steps": 9, "prompts_per_step": 2, "group_size": 3, "budget": budget}
    config = TrialConfig.model_validate({"method": method, "critic": critic, "train": train})
    assert count_allowed_steps(config) == steps


def test_without_a_budget_training_takes_all_its_steps(small: Plan) -> None:
    assert count_allowed_steps(small.trials[0].config) == 5
    assert estimate(small).bounded == ()


def test_a_budget_bounds_time_and_critic_calls(plan: Load, demo: str, tmp_path: Path) -> None:
    sets = ["critic={name: transformers}", "train.steps=1000", "train.budget={total_tokens: 5000}"]
    planned = plan(demo.replace("base:\n", f"base:\n{SIZES}"), sets=sets)
    taken = estimate(planned)
    assert [(one.unit, one.limit, one.steps, one.most) for one in taken.bounded] == [
        ("total_tokens", 5000, 2, 1000),
        ("total_tokens", 5000, 2, 1000),
    ]
    assert taken.critic_calls == 4 * 2 * 6 * 4  # 4 trials × 2 steps × 6 rollouts × 4 critiques
    trial = 2 * 6 * (SECONDS_PER_ROLLOUT + 4 * SECONDS_PER_CRITIQUE) + 7 * 2 * 3 * SECONDS_PER_SAMPLE
    assert estimate_trial_seconds(planned.trials[0].config) == pytest.approx(trial)
    # A finished trial tells the steps of its variant: 3 instead of 2.
    first = planned.trials[0]
    write_json(Home(tmp_path).trial(first.id).metrics, {"metrics": {}, "cost": {"wall_seconds": 9.0, "steps": 3}})
    found = estimate(planned, Home(tmp_path))
    assert {one.variant: one.steps for one in found.bounded}[first.variant] == 3
    assert found.critic_calls == (2 * 3 + 2 * 2) * 24


def test_what_is_spent_on_a_critic_of_unknown_size_is_not_known_and_its_calls_are_the_most(
    plan: Load, demo: str
) -> None:
    critic = "critic={name: openai, model: m, base_url: 'http://127.0.0.1:1/v1'}"
    sets = ["backbone=qwen2.5-1.5b", "cold_start=null", critic, "train.budget={seconds: 1000}"]
    taken = estimate(plan(demo, sets=sets))
    assert {one.steps for one in taken.bounded} == {None}
    assert (taken.unknown, taken.gpu) == (4, None)
    assert taken.critic_calls == estimate(plan(demo, sets=sets[:3])).critic_calls


def test_no_guess_for_a_critic_from_a_hub(plan: Load, demo: str) -> None:
    taken = estimate(plan(demo, sets=["critic={name: transformers, model: org/critic}"]))
    assert taken.unknown == 4
    assert [made.kind for made in taken.preparations] == ["cold_start"]
