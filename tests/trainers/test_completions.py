"""Demonstrations as chat templates write them: the prompt of rollouts, and the answer with the end of its turn."""

from __future__ import annotations

import pytest
from tokenizers import processors

from evals.models.prompt import INSTRUCTION, render
from evals.tasks.demonstrations import Demonstration
from trainers.backbones.tiny import build_tokenizer
from trainers.sft import count_parts, select_pairs_within, tokenize, write_pair
from trainers.teaching import UNLABELLED

QWEN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "<|begin|>{% for m in messages %}<|start|>{{ m['role'] }}<|stop|>\n\n{{ m['content'] | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|stop|>\n\n{% endif %}"
)
PROBLEM, SOLUTION = "How many?", "3 + 4 = 7\n\n\\boxed{7}"


@pytest.fixture
def tokenizer():
    return build_tokenizer([PROBLEM, SOLUTION])


@pytest.mark.parametrize("template", ["bare", "plain"])
def test_without_a_chat_template_the_solution_follows_the_prompt_of_rollouts(tokenizer, template):
    prompt, completion = write_pair(Demonstration(PROBLEM, SOLUTION), template, tokenizer)
    assert prompt == render(PROBLEM, template, tokenizer)
    assert completion == SOLUTION


def test_the_answers_turn_is_learnt_to_its_end_and_nothing_after_it(tokenizer):
    tokenizer.chat_template = QWEN
    prompt, completion = write_pair(Demonstration(PROBLEM, SOLUTION), "chat", tokenizer)
    assert prompt == render(PROBLEM, "chat", tokenizer)
    assert prompt == f"<|im_start|>user\n{INSTRUCTION}{PROBLEM}<|im_end|>\n<|im_start|>assistant\n"
    assert completion == f"{SOLUTION}<|im_end|>"


def test_a_conversation_stands_as_it_is_and_only_its_last_turn_is_learnt(tokenizer):
    tokenizer.chat_template = QWEN
    turns = (("system", "Be short."), ("user", "1?"), ("assistant", "2"), ("user", "3?"))
    prompt, completion = write_pair(Demonstration(turns, "4"), "chat", tokenizer)
    assert prompt == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\n1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
        "<|im_start|>user\n3?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert completion == "4<|im_end|>"


def test_the_beginning_of_a_text_stands_once(tokenizer):
    """Llama's template writes the beginning that its tokenizer adds again."""
    tokenizer.chat_template = LLAMA
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", tokenizer.bos_token_id)]
    )
    pair = write_pair(Demonstration(PROBLEM, SOLUTION), "chat", tokenizer)
    assert pair[0] == render(PROBLEM, "chat", tokenizer)
    (row,) = tokenize(tokenizer, [pair])
    assert row["input_ids"].count(tokenizer.bos_token_id) == 1


def test_an_end_of_turn_is_learnt_once_and_a_missing_one_is_added(tokenizer):
    tokenizer.chat_template = QWEN
    closed = write_pair(Demonstration(PROBLEM, SOLUTION), "chat", tokenizer)
    for pair in (closed, (closed[0], SOLUTION)):
        (row,) = tokenize(tokenizer, [pair])
        learnt = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label != UNLABELLED]
        assert tokenizer.decode(learnt) == f"{SOLUTION}<|im_end|>"
        assert learnt.count(tokenizer.eos_token_id) == 1


def test_a_template_that_opens_a_turn_with_more_is_learnt_as_rollouts_begin(tokenizer):
    tokenizer.chat_template = QWEN.replace("assistant\n{% endif", "assistant\n<think>\n\n</think>\n{% endif")
    prompt, completion = write_pair(Demonstration(PROBLEM, SOLUTION), "chat", tokenizer)
    assert prompt == render(PROBLEM, "chat", tokenizer)
    assert prompt.endswith("<think>\n\n</think>\n")
    assert completion == f"{SOLUTION}<|im_end|>"


def test_a_conversation_needs_a_chat_template(tokenizer):
    with pytest.raises(ValueError, match="a conversation, and template 'plain' puts problems alone"):
        write_pair(Demonstration((("user", "1?"),), "2"), "plain", tokenizer)


def test_what_is_too_long_is_left_out(tokenizer):
    pairs = [("one", "a"), ("one " * 30, "a")]
    assert select_pairs_within(pairs, tokenizer, 20) == pairs[:1]
    with pytest.raises(ValueError, match=r"max_tokens is 1 and the shortest of 2 demonstrations has \d tokens"):
        select_pairs_within(pairs, tokenizer, 1)


@pytest.mark.parametrize(
    ("size", "micro_batch", "parts"),
    [(64, None, 8), (64, 16, 8), (64, 4, 16), (12, None, 4), (12, 5, 4), (10, 3, 5), (7, None, 1), (7, 2, 7)],
)
def test_a_step_passes_in_parts_that_divide_it_and_fit(size, micro_batch, parts):
    assert count_parts(size, micro_batch) == parts
