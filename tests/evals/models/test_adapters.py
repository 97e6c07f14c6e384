"""An adapter on its base: the trained logits to the bit, tokens of its own, a base that is another model."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from evals.models.adapters import attach
from evals.models.base import ModelError, Sampling
from evals.models.open import open_model
from evals.models.spec import read_spec
from trainers.backbones import BACKBONES
from trainers.backbones.tiny import build_model, build_tokenizer, save

TINY = BACKBONES.load("tiny")
TEXT = "Ann has 3 coins. Ann finds 4. How many?\n3 + 4 = 7\n\n\\boxed{7}"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    tokenizer = build_tokenizer([TEXT] * 4)
    save(build_model(TINY, tokenizer, seed=0).bfloat16(), tokenizer, tmp_path / "base")
    return tmp_path / "base"


def logits_of(model: Any, tokenizer: Any, text: str = TEXT) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(**tokenizer(text, return_tensors="pt")).logits


def opened(folder: Path) -> Any:
    return open_model(read_spec(model=str(folder), dtype="bfloat16"))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as raised:
        opened(folder)
    return str(raised.value)


def adapted(base: Path, *, tokens: tuple[str, ...] = (), **settings: Any) -> tuple[Any, Any]:
    """Return a model with an adapter that is drawn at random, and its tokenizer, with tokens of its own."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokens:
        tokenizer.add_tokens([*tokens])
        model.resize_token_embeddings(len(tokenizer))
    settings = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "task_type": "CAUSAL_LM"} | settings
    torch.manual_seed(1)
    return get_peft_model(model, LoraConfig(**settings)), tokenizer


def test_what_little_was_learned_on_a_bfloat16_base_is_measured(base: Path, tmp_path: Path) -> None:
    """Rank 32, learning rate 1e-6, 20 steps: merged into bfloat16, nearly all of it would be lost."""
    model, tokenizer = adapted(base, r=32, lora_alpha=64, init_lora_weights=True)
    start = logits_of(model, tokenizer)
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-6)
    tokens = tokenizer(TEXT, return_tensors="pt")
    for _ in range(20):
        model.train()(**tokens, labels=tokens["input_ids"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    trained = logits_of(model, tokenizer)
    model.save_pretrained(tmp_path / "adapter")
    measured = opened(tmp_path / "adapter")
    assert not torch.equal(trained, start)
    assert torch.equal(logits_of(measured.model, measured.tokenizer), trained)

    before = {name: weight.clone() for name, weight in model.get_base_model().named_parameters() if "base" in name}
    model.merge_adapter()
    after = dict(model.get_base_model().named_parameters())
    same = sum((after[name] == weight).sum() for name, weight in before.items())
    assert same / sum(weight.numel() for weight in before.values()) > 0.9


@pytest.mark.parametrize(
    "settings",
    [
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {},  # peft keeps embeddings that have another size than the base's
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"trainable_token_indices": {"embed_tokens": [1, 2]}},
    ],
    ids=["both", "input", "resized", "adapted", "trained tokens"],
)
@pytest.mark.filterwarnings("ignore")  # peft's own, of tied and resized embeddings
def test_an_adapter_that_brings_a_token_of_its_own_is_measured(
    settings: dict[str, Any], base: Path, tmp_path: Path
) -> None:
    model, tokenizer = adapted(base, tokens=("<coin>",), **settings)
    model.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    measured = opened(tmp_path / "adapter")
    asked = f"Ann has 3 <coin> and\n{TEXT}"
    assert measured.tokenizer(asked)["input_ids"] == tokenizer(asked)["input_ids"]
    trained = logits_of(model, tokenizer, asked)
    assert torch.equal(logits_of(measured.model, measured.tokenizer, asked), trained)
    [[answer]] = asyncio.run(measured.complete([measured.prompt(asked)], 1, Sampling(0.0, 1.0, 4), seed=0))
    assert 1 <= answer.usage.output_tokens <= 4


def another(base: Path, folder: Path, **shape: Any) -> Path:
    """Put another model in the place of a base."""
    config = AutoConfig.from_pretrained(base)
    config.update(shape)
    shutil.rmtree(folder)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"hidden_size": 96, "intermediate_size": 200}, "size mismatch for base_model.model.model.layers.0."),
        ({"num_hidden_layers": 1}, "the base has no place for base_model.model.model.layers.1."),
        ({"num_hidden_layers": 3}, "it has nothing for base_model.model.model.layers.2."),
    ],
    ids=["wider", "fewer layers", "more layers"],
)  # fmt: skip
def test_an_adapter_of_another_base_says_so(shape: dict[str, Any], why: str, base: Path, tmp_path: Path) -> None:
    model, tokenizer = adapted(base, target_modules=["q_proj", "v_proj"])
    model.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    another(base, base, **shape)
    said = refused(tmp_path / "adapter")
    assert f"the adapter {tmp_path / 'adapter'} was made for another model than its base {base}: {why}" in said
    assert said.endswith(
        f"write the model that it was trained on as base_model_name_or_path into {tmp_path}/adapter/adapter_config.json"
    )


def test_modules_that_the_base_lacks_are_told(base: Path, tmp_path: Path) -> None:
    model, _ = adapted(base)
    model.save_pretrained(tmp_path / "adapter")
    model.peft_config["default"].target_modules = {"c_attn"}
    model.peft_config["default"].save_pretrained(tmp_path / "adapter")
    assert "c_attn" in refused(tmp_path / "adapter")


def test_an_adapter_goes_on_being_trained(base: Path, tmp_path: Path) -> None:
    model, _ = adapted(base)
    model.save_pretrained(tmp_path / "adapter")
    more = attach(AutoModelForCausalLM.from_pretrained(base), tmp_path / "adapter", trainable=True)
    learning = {name for name, weight in more.named_parameters() if weight.requires_grad}
    assert learning == {name for name, weight in model.named_parameters() if weight.requires_grad}
