from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from evals.coins import COINS
from evals.coins.problems import read
from evals.coins.pupil import Pupil
from evals.coins.solutions import demonstrate
from trainers.backbones import BACKBONES, BackboneConfig
from trainers.backbones.tiny import END, MAX_POSITIONS, PAD, VOCABULARY, build_model, build_tokenizer, save

SMALL = BackboneConfig(source="embedded", width=32, layers=1)


def coins_texts(count):
    rng = random.Random(0)
    return [p.prompt + demonstrate(read(p.prompt), rng, Pupil(slip=0.1)) for p in COINS.problems("distractors", count)]


TEXTS = coins_texts(300)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(TEXTS)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save(build_model(SMALL, tokenizer, seed=0), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def reloaded(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_a_number_with_the_space_before_it_is_one_token(tokenizer):
    assert tokenizer.tokenize("9 + 4 = 13\n\n\\boxed{13}") == [
        "9", "Ġ+", "Ġ4", "Ġ=", "Ġ13", "ĊĊ", "\\boxed{", "13", "}"
    ]  # fmt: skip


def test_a_problem_ends_where_its_solution_begins(tokenizer):
    # Demonstrations are tokenised apart from their problems; a policy must meet the same tokens.
    for problem in COINS.problems("train", 20):
        solution = demonstrate(read(problem.prompt), random.Random(0))
        together = tokenizer(problem.prompt + solution)["input_ids"]
        assert together == tokenizer(problem.prompt)["input_ids"] + tokenizer(solution)["input_ids"]


def test_padding_and_end_are_tokens_of_their_own(tokenizer, reloaded):
    for each in (tokenizer, reloaded):
        assert (each.pad_token, each.pad_token_id) == (PAD, 0)
        assert (each.eos_token, each.eos_token_id) == (END, 1)
        assert each.bos_token is None
        assert len(each) <= VOCABULARY


def test_nothing_is_added_to_a_text(tokenizer, reloaded):
    for each in (tokenizer, reloaded):
        assert each("3 + 4 = 7")["input_ids"] == each("3 + 4 = 7", add_special_tokens=False)["input_ids"]


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    assert build_tokenizer(TEXTS).get_vocab() == tokenizer.get_vocab()


def test_it_comes_back_as_what_it_was(tokenizer, reloaded):
    assert type(reloaded) is type(tokenizer)
    assert reloaded.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("text", TEXTS[:20])
def test_coins_text_survives_the_round_trip(tokenizer, reloaded, text):
    ids = tokenizer(text)["input_ids"]
    assert reloaded(text)["input_ids"] == ids
    assert reloaded.decode(ids) == tokenizer.decode(ids) == text


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_survives_the_round_trip(tokenizer, reloaded, text):
    ids = tokenizer(text)["input_ids"]
    assert reloaded(text)["input_ids"] == ids
    assert reloaded.decode(ids) == text


def test_the_model_has_the_shape_asked_for(tokenizer):
    model = build_model(BACKBONES.load("tiny"), tokenizer, seed=0)
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (128, 2)
    assert model.config.max_position_embeddings == MAX_POSITIONS
    assert (model.config.eos_token_id, model.config.pad_token_id) == (1, 0)
    assert 0.3e6 < model.num_parameters() < 0.6e6  # about half a million


def test_weights_are_drawn_from_the_seed_alone(tokenizer):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_model(SMALL, tokenizer, seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = (build_model(SMALL, tokenizer, seed).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_reloaded_model_is_the_same_and_generates(tokenizer, folder, reloaded):
    model = AutoModelForCausalLM.from_pretrained(folder)
    built = build_model(SMALL, tokenizer, seed=0)
    batch = reloaded(TEXTS[:3], return_tensors="pt", padding=True, padding_side="left")
    with torch.inference_mode():
        assert torch.equal(model(**batch).logits, built.eval()(**batch).logits)
        made = model.generate(**batch, max_new_tokens=4, do_sample=False)
    assert made[:, : batch["input_ids"].shape[1]].equal(batch["input_ids"])
    assert made.shape[1] > batch["input_ids"].shape[1]


def test_padding_changes_nothing_for_a_text(folder, reloaded):
    model = AutoModelForCausalLM.from_pretrained(folder)
    short, long = sorted(TEXTS[:10], key=len)[::9]
    with torch.inference_mode():
        alone = model(**reloaded(short, return_tensors="pt")).logits[0, -1]
        batch = reloaded([short, long], return_tensors="pt", padding=True, padding_side="left")
        padded = model(**batch).logits[0, -1]
    torch.testing.assert_close(alone, padded, atol=1e-5, rtol=1e-5)


VLLM = """
    import sys
    from vllm import LLM, SamplingParams

    folder, texts = sys.argv[1], sys.argv[2:]
    # No compilation: a minute for nothing here.
    llm = LLM(folder, dtype="float32", max_model_len=256, enforce_eager=True, seed=0)
    tokenizer = llm.get_tokenizer()
    for text in texts:
        print("ids", tokenizer(text)["input_ids"])
    wanted = SamplingParams(temperature=1.0, max_tokens=5, n=2, seed=0)
    for output in llm.generate(texts, wanted):
        print("read", list(output.prompt_token_ids), [len(sample.token_ids) for sample in output.outputs])
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed (pip install vllm)")
def test_vllm_reads_the_same_tokens_and_generates(tokenizer, tmp_path):
    # The shape that ships: vLLM knows no heads as small as those of the other tests.
    save(build_model(BACKBONES.load("tiny"), tokenizer, seed=0), tokenizer, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(VLLM), str(tmp_path), *TEXTS[:2]],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    ids = [tokenizer(text)["input_ids"] for text in TEXTS[:2]]
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("ids ")] == [f"ids {row}" for row in ids]
    heads = [line for line in lines if line.startswith("read ")]
    assert all(line.startswith(f"read {row} ") for line, row in zip(heads, ids, strict=True))
