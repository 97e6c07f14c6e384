"""The policy as its own critic: the model that training starts from, as it was."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from capo_bench.study.errors import StudyErrors
from capo_bench.study.identity import identify_trial
from capo_bench.study.load import load_plan
from evals.benchmarks import Problem
from evals.coins import COINS
from trainers import capo
from trainers.budget import BudgetConfig
from trainers.config import TrialConfig
from trainers.criticised import count_parameters, find_critic
from trainers.critics.base import Solution, Surroundings
from trainers.critics.cached import open_critic
from trainers.critics.local import TransformersParams
from trainers.rollouts import read_rollouts

OWN = {"name": "transformers", "model": "policy", "max_tokens": 12}
ASKED = {"critiques": 2, "max_abstained": 1.0}
"""This policy knows coins alone, so what it says as critic is no verdict; it says it all the same."""
AROUND = Surroundings(COINS, 0)


@pytest.fixture(scope="module")
def another_start(start, tmp_path_factory):
    """A start of the same shape and tokenizer, whose weights differ."""
    folder = tmp_path_factory.mktemp("another")
    model = AutoModelForCausalLM.from_pretrained(start)
    model.model.norm.weight.data *= 2
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(start).save_pretrained(folder)
    return str(folder)


def said(params, solutions):
    async def ask():
        critic = open_critic(params, AROUND, None)
        try:
            return await critic.critique(solutions, 2)
        finally:
            await critic.close()

    return asyncio.run(ask())


def test_what_it_says_is_what_the_start_says_however_far_training_is(make_run, start):
    train = {"steps": 2, "prompts_per_step": 2, "group_size": 16, "max_completion_tokens": 56, "learning_rate": 0.01}
    run, records = make_run(critic=OWN, credit=ASKED, train=train)
    assert capo.train(run)
    stored = [rollout for step in read_rollouts(run.rollouts) for rollout in step.rollouts]
    solutions = [Solution(Problem(row.problem, row.prompt, row.answer), row.steps) for row in stored]
    outright = TransformersParams(model=start, max_tokens=12)
    texts = [[critique.text for critique in row] for row in said(outright, solutions)]
    assert [[critique.text for critique in row.critiques] for row in stored] == texts
    assert any(text for row in texts for text in row)
    assert all(record["abstained"] <= record["critiques"] == 64 for record in records)
    assert records[0]["grad_norm"] > 0  # so the second step's rollouts are of another policy


def test_it_is_the_start_named_outright(make_run, start):
    run, _ = make_run(critic=OWN)
    assert find_critic(run).identity() == TransformersParams(model=start, max_tokens=12).identity()
    plain, _ = make_run(critic={"name": "exact"})
    assert find_critic(plain) is plain.config.critic


def test_critiques_of_two_starts_are_kept_apart(make_run, start, another_start):
    solution = Solution(Problem("coins/0", "Ann has 3 coins.", "3"), ("3 + 4 = 7",))

    def key(folder):
        run, _ = make_run(critic=OWN)
        return open_critic(find_critic(replace(run, start=folder)), AROUND, None).key(solution, greedy=False)

    assert key(start) == key(start)
    assert key(start) != key(another_start)


def test_it_is_as_large_as_the_policy(make_run, start):
    run, _ = make_run(critic=OWN)
    size = sum(weight.numel() for weight in AutoModelForCausalLM.from_pretrained(start).parameters())
    assert count_parameters(start, None) == size
    assert find_critic(run).size(AROUND) == size
    assert find_critic(run).model_copy(update={"model": "on/a-hub"}).size(AROUND) == size


def test_a_token_of_its_critiques_weighs_as_one_of_the_policy(make_run):
    train = {"steps": 1, "prompts_per_step": 1, "group_size": 2, "max_completion_tokens": 12}
    run, (record, *_) = trained(make_run, {**train, "budget": BudgetConfig(total_tokens=10**6).model_dump()})
    critic = record["critic_prompt_tokens"] + record["critic_output_tokens"]
    assert critic > 0
    assert record["total_tokens"] == record["policy_tokens"] + record["policy_prompt_tokens"] + critic
    assert run.config.critic.size_known


def trained(make_run, train):
    run, records = make_run(critic=OWN, credit=ASKED, train=train)
    assert capo.train(run)
    return run, records


def test_another_start_is_another_trial():
    def training(**changes):
        return identify_trial(TrialConfig.model_validate({"critic": OWN, "credit": ASKED, **changes}))["training"]

    assert training()["critic"]["model"] == "policy"
    assert training() != training(cold_start={"seed": 1})
    assert training() != training(critic={**OWN, "model": "embedded"})


STUDY = """
name: s
question: q?
baseline: rule
base: {backbone: BACKBONE, credit: {critiques: 1, vote: union}}
include:
  - name: own
    set: {critic: {name: transformers, model: policy}}
  - name: rule
    set: {method: grpo_rule, critic: {name: transformers, model: policy}}
"""


def test_an_embedded_policy_cannot_be_its_own_critic(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.replace("BACKBONE", "tiny"))
    with pytest.raises(StudyErrors) as told:
        load_plan(str(file), "quick", (), ())
    (line,) = str(told.value).splitlines()
    assert "s.yaml:8: variant 'own': critic.model is 'policy', and backbone 'tiny' knows solutions of coins" in line
    assert "set critic.model to 'embedded', or backbone to one of a hub or a folder" in line


def test_one_of_a_hub_can(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.replace("BACKBONE", "qwen3-1.7b, cold_start: null"))
    own, _ = load_plan(str(file), "quick", (), ()).variants
    assert own.config.critic.asks_policy
