"""A language model as critic: its words become verdicts or abstentions, and its model is opened when it is asked."""

from __future__ import annotations

import asyncio

import pytest

from evals.benchmarks import Problem
from evals.models.base import Completion, ModelError
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer, save
from trainers.critics.base import Solution, Surroundings
from trainers.critics.cached import open_critic
from trainers.critics.language import read_critique
from trainers.critics.local import TransformersParams

TEXT = "Ann has 3 coins. Ann finds 4.\n\n3 + 4 = 7\n\nWrong steps: [1, 2]"
SOLUTION = Solution(Problem("sums/test/0", "add 0", "0"), ("1+1=2", "2+1=4"))


@pytest.mark.parametrize(
    ("completion", "wrong", "abstained"),
    [
        (Completion("Wrong steps: [2]"), {1}, None),
        (Completion("Wrong steps: []"), set(), None),
        (Completion("Wrong steps: [2", "length"), None, "truncated"),
        (Completion("I would rather not", "refusal"), None, "refusal"),
        (Completion("", "filter"), None, "refusal"),
        (Completion("no reply within 60 s", "timeout"), None, "timeout"),
        (Completion("status 500", "error"), None, "error"),
        (Completion("fine"), None, "no_list"),
        (Completion("Wrong steps: [9]"), None, "out_of_range"),
    ],
)
def test_a_completion_is_a_verdict_or_says_why_it_is_none(completion, wrong, abstained):
    critique = read_critique(completion, SOLUTION)
    assert (critique.wrong, critique.abstained, critique.text) == (wrong, abstained, completion.text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = build_tokenizer([TEXT])
    save(build_model(BackboneConfig(source="embedded", width=32, layers=1), tokenizer, seed=0), tokenizer, folder)
    return str(folder)


def ask(critic, *arguments, **options):
    async def both():
        try:
            return await critic.critique(*arguments, **options)
        finally:
            await critic.close()

    return asyncio.run(both())


def test_it_abstains_where_its_words_are_no_verdict(folder, sums):
    params = TransformersParams(model=folder, max_tokens=6)
    critic = open_critic(params, Surroundings(sums, 0), cache=None)
    critiques = ask(critic, [SOLUTION] * 2, 3)
    assert not critic.eager
    assert [len(row) for row in critiques] == [3, 3]
    assert all(each.wrong is None and each.abstained for row in critiques for each in row)
    assert [each.text for each in critiques[0]] == [each.text for each in critiques[1]]


def test_a_model_that_is_not_there_is_an_error_when_it_is_asked(tmp_path, sums):
    critic = TransformersParams(model=str(tmp_path / "no")).build(Surroundings(sums, 0))
    with pytest.raises(ModelError, match="there is no folder"):
        ask(critic, [SOLUTION], 1)


def test_closing_what_was_never_asked_opens_nothing(tmp_path, sums):
    critic = TransformersParams(model=str(tmp_path / "no")).build(Surroundings(sums, 0))
    asyncio.run(critic.close())
