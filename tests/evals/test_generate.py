from __future__ import annotations

import pytest
import torch

from evals.coins import COINS
from evals.generate import Completion, _completion, load, sample
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import END, PAD, build_model, build_tokenizer, save

PROMPTS = [problem.prompt for problem in COINS.problems("train", 5)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer(PROMPTS)
    save(build_model(BackboneConfig(source="embedded", width=16, layers=1), tokenizer, seed=0), tokenizer, folder)
    return load(str(folder), "float32", None)


def drawn(policy, prompts=PROMPTS, seed=1, **options):
    settings = {"temperature": 1.0, "max_tokens": 12, "batch_size": 2, **options}
    return sample(*policy, prompts, seed=seed, **settings)


@pytest.fixture
def ending(policy, monkeypatch):
    """Let the policy choose, at each place, between going on with ``a`` and ending."""
    model, tokenizer = policy
    allowed = torch.full((len(tokenizer),), float("-inf"))
    allowed[[tokenizer.convert_tokens_to_ids("a"), tokenizer.eos_token_id]] = 0.0
    forward = type(model).forward

    def restrained(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = output.logits * 0 + allowed
        return output

    monkeypatch.setattr(type(model), "forward", restrained)


def test_the_same_seed_gives_the_same_completions(policy):
    assert drawn(policy) == drawn(policy)
    assert drawn(policy) != drawn(policy, seed=2)


def test_the_global_random_state_is_neither_read_nor_moved(policy):
    torch.manual_seed(11)
    first = drawn(policy)
    torch.manual_seed(12)
    before = torch.get_rng_state()
    second = drawn(policy)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second


def test_a_prompt_named_several_times_is_sampled_several_times(policy):
    texts = [completion.text for completion in drawn(policy, PROMPTS[:1] * 6)]
    assert len(texts) == 6
    assert len(set(texts)) > 1


def test_completions_come_in_the_order_of_the_prompts(policy):
    # Nearly greedy, so that each prompt has one completion, whatever the batches; of unlike lengths, so that some pad.
    prompts = ["Ann", "How many? Ann spends", "coins", "Bob has 3", "Ann finds 4. Ann makes"]
    alone = [drawn(policy, [prompt], temperature=1e-4)[0] for prompt in prompts]
    assert len({completion.text for completion in alone}) > 2
    for batch_size in (1, 2, 5):  # of 2, the last batch holds one
        assert drawn(policy, prompts, temperature=1e-4, batch_size=batch_size) == alone


def test_tokens_are_counted_with_the_end_and_without_padding(policy, ending):
    completions = drawn(policy, PROMPTS * 10, batch_size=50, max_tokens=3)
    assert {completion.truncated for completion in completions} == {True, False}
    for completion in completions:
        # Every token but the end is an "a".
        assert completion.text == "a" * (completion.tokens - (not completion.truncated))
        assert completion.tokens == 3 if completion.truncated else completion.tokens <= 3


def test_temperature_reaches_the_draw(policy):
    assert len({completion.text for completion in drawn(policy, PROMPTS[:1] * 8, temperature=1e-4)}) == 1


def test_what_a_repository_recommends_for_generation_is_not_used(policy, monkeypatch):
    model, tokenizer = policy
    plain = drawn(policy)
    monkeypatch.setattr(model.generation_config, "repetition_penalty", 5.0)
    monkeypatch.setattr(model.generation_config, "top_k", 1)
    monkeypatch.setattr(model.generation_config, "top_p", 0.1)
    monkeypatch.setattr(model.generation_config, "eos_token_id", [tokenizer.convert_tokens_to_ids("a")])
    assert drawn(policy) == plain


def test_prompts_are_padded_on_the_left(policy):
    assert policy[1].padding_side == "left"


def test_no_prompts_no_completions(policy):
    assert drawn(policy, []) == []


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["a", "b", END], Completion("ab", 3, False)),
        (["a", END, PAD, PAD], Completion("a", 2, False)),
        ([END, PAD], Completion("", 1, False)),
        (["a", "b"], Completion("ab", 2, True)),
        (["a", END, "b", END], Completion("a", 2, False)),
    ],
)
def test_accounting_by_hand(policy, pieces, expected):
    tokenizer = policy[1]
    assert _completion(tokenizer, tokenizer.convert_tokens_to_ids(pieces)) == expected
