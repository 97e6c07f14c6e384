from __future__ import annotations

import pytest

from evals.benchmarks import Problem
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_tokenizer
from trainers.prompts import INSTRUCTION, render

PROBLEM = Problem("p/0", "What is 2 + 2?", "4")
PLAIN = BackboneConfig(source="embedded")
CHAT = BackboneConfig(source="hub", model="some/model", chat=True)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def tokenizer():
    tokenizer = build_tokenizer([PROBLEM.prompt])
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_without_chat_the_problem_stands_as_it_is(tokenizer):
    assert render(PROBLEM, PLAIN, tokenizer) == PROBLEM.prompt


def test_with_chat_the_template_opens_the_answer(tokenizer):
    assert render(PROBLEM, CHAT, tokenizer) == f"<user>{INSTRUCTION}What is 2 + 2?</user><assistant>"


def test_what_the_tokenizer_adds_again_is_taken_off(tokenizer):
    tokenizer.bos_token = "<s>"
    assert render(PROBLEM, CHAT, tokenizer) == f"<user>{INSTRUCTION}What is 2 + 2?</user><assistant>"


def test_only_the_opening_token_is_taken_off(tokenizer):
    tokenizer.bos_token = "<s>"
    problem = Problem("p/1", "<s> of <s>?", "4")
    assert render(problem, CHAT, tokenizer).endswith("<s> of <s>?</user><assistant>")


def test_the_instruction_asks_for_what_is_read():
    # Steps are cut at blank lines, and the answer is taken from the last box.
    assert "blank lines" in INSTRUCTION
    assert "\\boxed{}" in INSTRUCTION
