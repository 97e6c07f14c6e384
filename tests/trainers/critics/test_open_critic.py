"""A critic's settings decide whether its critiques are kept, and under what."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytest

from evals.benchmarks import Problem
from evals.definitions import Closure
from trainers.credit.critique import Critique
from trainers.critics.base import CriticParams, EmbeddedCriticConfig, Solution, Surroundings
from trainers.critics.cached import CachedCritic, open_critic
from trainers.critics.draws import DrawingCritic
from trainers.critics.exact import ExactCritic, ExactParams
from trainers.critics.language import LanguageParams
from trainers.critics.noisy import NoisyParams

SOLUTION = Solution(Problem("sums/0", "add", "3"), ("1+2=3",))


class Counting:
    """A critic that says how often it was asked."""

    eager = False

    def __init__(self):
        self.asked = 0

    async def critique(self, solutions, k, *, first=0, greedy=False):
        self.asked += 1
        return [[Critique(frozenset(), text=str(self.asked))] * k for _ in solutions]

    async def close(self):
        """Nothing is held."""


COUNTING = Counting()


class CountingParams(CriticParams):
    kept: ClassVar[bool] = True
    name: Literal["counting"] = "counting"
    model: str = "embedded"
    seed: int = 0
    url: str = "http://127.0.0.1:1"

    @property
    def embedded_critic(self):
        return EmbeddedCriticConfig() if self.model == "embedded" else None

    def identity(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"url"})

    def build(self, surroundings):
        return COUNTING


@pytest.fixture
def surroundings(sums, tmp_path):
    return Surroundings(sums, 0, a_model(tmp_path / "model", b"weights"))


def a_model(folder, weights):
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("{}")
    return folder


def asked_anew(params, surroundings, cache):
    """Whether a critic that is opened now asks for its critique of the solution."""
    before = COUNTING.asked

    async def ask():
        critic = open_critic(params, surroundings, cache)
        await critic.critique([SOLUTION], 1)
        await critic.close()

    asyncio.run(ask())
    return COUNTING.asked > before


@pytest.mark.parametrize(("params", "kind"), [(ExactParams(), ExactCritic), (NoisyParams(), DrawingCritic)])
def test_what_is_quickly_worked_out_is_not_kept(params, kind, sums, tmp_path):
    assert type(open_critic(params, Surroundings(sums, 0), tmp_path)) is kind
    assert list(tmp_path.iterdir()) == []


def test_what_a_language_model_says_is_kept():
    assert LanguageParams.kept


def test_critiques_are_kept_in_the_folder(surroundings, tmp_path):
    cache = tmp_path / "critiques"
    assert [asked_anew(CountingParams(), surroundings, cache) for _ in range(2)] == [True, False]
    assert (cache / "critiques.sqlite").exists()


def test_without_a_folder_nothing_is_kept_but_twins_are_asked_about_once(surroundings):
    assert [asked_anew(CountingParams(), surroundings, None) for _ in range(2)] == [True, True]
    assert isinstance(open_critic(CountingParams(), surroundings, None), CachedCritic)


def test_trials_of_any_seed_and_any_address_share(surroundings, tmp_path):
    cache = tmp_path / "critiques"
    assert asked_anew(CountingParams(), surroundings, cache)
    assert not asked_anew(CountingParams(), replace(surroundings, seed=7), cache)
    assert not asked_anew(CountingParams(url="http://127.0.0.1:2"), surroundings, cache)


def test_another_setting_another_model_and_other_code_are_other_critics(surroundings, tmp_path, monkeypatch):
    cache = tmp_path / "critiques"
    assert asked_anew(CountingParams(), surroundings, cache)
    assert asked_anew(CountingParams(seed=1), surroundings, cache)
    retrained = a_model(tmp_path / "retrained", b"other weights")
    assert asked_anew(CountingParams(), replace(surroundings, embedded=retrained), cache)
    other = Closure("of another prompt or parser", {})
    monkeypatch.setattr("trainers.critics.cached.find_closure", lambda target: other)
    assert asked_anew(CountingParams(), surroundings, cache)


def test_a_model_is_known_by_its_content_and_not_by_what_lies_beside_it(surroundings, tmp_path):
    cache = tmp_path / "critiques"
    assert asked_anew(CountingParams(), surroundings, cache)
    moved = a_model(tmp_path / "moved", b"weights")
    (moved / "critic.json").write_text('{"seconds": 200}')
    assert not asked_anew(CountingParams(), replace(surroundings, embedded=moved), cache)


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json", "generation_config.json"])
def test_a_chat_template_and_what_else_shapes_a_reply_make_another_critic(name, surroundings, tmp_path):
    cache = tmp_path / "critiques"
    assert asked_anew(CountingParams(), surroundings, cache)
    (surroundings.embedded / name).write_text("{}")
    assert asked_anew(CountingParams(), surroundings, cache)


def test_a_local_folder_is_known_by_its_weights(surroundings, tmp_path):
    cache, folder = tmp_path / "critiques", a_model(tmp_path / "local", b"one")
    params = CountingParams(model=str(folder))
    assert [asked_anew(params, surroundings, cache) for _ in range(2)] == [True, False]
    (folder / "model.safetensors").write_bytes(b"two")
    assert asked_anew(params, surroundings, cache)


def test_a_name_of_no_folder_is_only_a_name(surroundings, tmp_path):
    params = CountingParams(model="somebody/a-model")
    assert [asked_anew(params, surroundings, tmp_path / "critiques") for _ in range(2)] == [True, False]
