from __future__ import annotations

import pytest

from evals.benchmarks import Problem
from evals.models.prompt import INSTRUCTION, render
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_tokenizer

PROBLEM = Problem("p/0", "What is 2 + 2?", "4")
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


@pytest.fixture
def tokenizer():
    tokenizer = build_tokenizer([PROBLEM.prompt])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_without_chat_the_problem_stands_as_it_is(tokenizer):
    assert render(PROBLEM.prompt, BackboneConfig(source="embedded").template, tokenizer) == PROBLEM.prompt


def test_with_chat_it_is_a_users_message_under_the_instruction(tokenizer):
    chat = BackboneConfig(source="hub", model="some/model", template="chat")
    assert render(PROBLEM.prompt, chat.template, tokenizer) == f"<user>{INSTRUCTION}What is 2 + 2?<assistant>"


def test_an_embedded_model_says_how_it_wants_to_be_asked(tokenizer, tmp_path):
    from transformers import AutoConfig

    from evals.models.prompt import choose_template
    from trainers.backbones.tiny import build_model, save

    backbone = BackboneConfig(source="embedded", width=16, layers=1)
    save(build_model(backbone, tokenizer, seed=0), tokenizer, tmp_path)
    assert choose_template("auto", AutoConfig.from_pretrained(tmp_path), tokenizer) == "bare"
