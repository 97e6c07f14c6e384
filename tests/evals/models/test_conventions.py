"""What ends a turn of a model is read from its files, whatever disagrees in them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tinymodel import tokenizer_of_coins

from evals.models.base import ModelError
from evals.models.conventions import read_conventions
from trainers.backbones.tiny import END

TURNS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}CLOSE{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)


@pytest.fixture
def tokenizer():
    return tokenizer_of_coins()


def read(tokenizer, template="chat", generation=None):
    named = SimpleNamespace(eos_token_id=generation)
    return read_conventions(template, SimpleNamespace(), named, tokenizer)


def test_a_model_without_a_chat_template_ends_with_its_tokenizers_end(tokenizer):
    conventions = read(tokenizer, "plain")
    assert (conventions.ends, conventions.flaw) == ({tokenizer.eos_token_id}, None)
    assert conventions.identity(tokenizer)["ends"] == [END]


def test_a_base_model_under_a_chat_template_ends_where_the_template_closes_a_turn(tokenizer):
    tokenizer.add_special_tokens({"eos_token": "<|endoftext|>"})
    tokenizer.chat_template = TURNS.replace("CLOSE", f"{END}\n")
    both = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END)}
    assert (read(tokenizer).ends, read(tokenizer).flaw) == (both, None)
    # Bare problems have no turns.
    assert read(tokenizer, "bare").ends == {tokenizer.eos_token_id}


def test_the_generation_settings_may_name_more_ends(tokenizer):
    assert read(tokenizer, "bare", [7, 9]).ends == {7, 9, tokenizer.eos_token_id}
    assert read(tokenizer, "bare", 7).ends == {7, tokenizer.eos_token_id}


def test_the_longest_token_that_fits_closes_the_turn(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s", "</s>"]})
    tokenizer.chat_template = TURNS.replace("CLOSE", "</s>")
    assert tokenizer.convert_tokens_to_ids("</s>") in read(tokenizer).ends
    assert tokenizer.convert_tokens_to_ids("</s") not in read(tokenizer).ends


def test_a_turn_that_closes_with_no_token_is_a_flaw(tokenizer):
    tokenizer.chat_template = TURNS.replace("CLOSE", "</assistant>")
    conventions = read(tokenizer)
    assert conventions.ends == {tokenizer.eos_token_id}
    assert "the chat template closes a turn with '</assistant>', which is no token of the tokenizer" in conventions.flaw


def test_a_turn_that_closes_with_nothing_is_none(tokenizer):
    tokenizer.chat_template = TURNS.replace("CLOSE", "")
    assert read(tokenizer).flaw is None


def test_a_template_that_cannot_show_an_answer_is_refused(tokenizer):
    tokenizer.chat_template = "{% if messages | length > 1 %}{{ raise_exception('one only') }}{% endif %}x"
    with pytest.raises(ModelError, match=r"cannot be rendered .*one only"):
        read(tokenizer)


def test_a_model_that_nothing_ends_is_refused(tokenizer):
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="names no end token"):
        read(tokenizer, "bare")
