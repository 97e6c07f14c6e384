"""Run the supervised training before reinforcement learning (the cold start) of a backbone.

All backbones use the same mechanism. An embedded backbone starts from random weights and learns from demonstrations
that the harness draws, unless the study names others. A backbone from the hub or from a folder learns from the
demonstrations that the study names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.benchmarks import BENCHMARKS
from evals.coins.problems import draw, read
from evals.coins.pupil import Pupil
from evals.coins.solutions import demonstrate
from evals.models.folders import fetch_snapshot
from evals.tasks.named import find_demonstrations
from evals.tasks.training_sets import draw as draw_items
from trainers import Emit
from trainers.backbones import BackboneConfig
from trainers.backbones.tiny import build_model, build_tokenizer, save
from trainers.backbones.trl_arguments import configure_adapters, name_base
from trainers.config import ColdStart, ColdStartConfig
from trainers.sft import Pair, select_pairs_within, train_sft, write_pair
from trainers.teaching import SftConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train_cold_start(backbone: BackboneConfig, config: ColdStart, out: Path, record: Emit) -> dict[str, int]:
    """Train a backbone on demonstrations and write model and tokenizer to `out`.

    Returns:
        The number of demonstrations that were used, and of those that were left out because they are too long. For a
        study's own demonstrations also the model's parameters without adapters.

    Raises:
        DataErrors: All errors in the demonstrations.
        ValueError: The demonstrations do not fit this model's template, or all of them are too long.
    """
    if isinstance(config, ColdStartConfig):
        return train_drawn(backbone, config, out, record)
    return train_named(backbone, config, out, record)


def train_drawn(backbone: BackboneConfig, config: ColdStartConfig, out: Path, record: Emit) -> dict[str, int]:
    """Train an embedded backbone on demonstrations that the harness draws; see `train_cold_start`."""
    pairs = list(_draw_demonstrations(config))
    model, tokenizer = _build_embedded(backbone, pairs, config.number)
    train_sft(model, tokenizer, pairs, config, out, record)
    save(model, tokenizer, out)
    return {"demonstrations": len(pairs)}


def train_named(backbone: BackboneConfig, config: SftConfig, out: Path, record: Emit) -> dict[str, int]:
    """Train a backbone on demonstrations that a study names; see `train_cold_start`."""
    wanted = config.steps * config.problems_per_step
    chosen = draw_items(find_demonstrations(config.demonstrations).all, wanted, f"sft/{config.number}")
    if backbone.source == "embedded":
        texts = [(str(example.prompt), example.completion) for example in chosen]
        model, tokenizer = _build_embedded(backbone, texts, config.number)
    else:
        model, tokenizer = _load(backbone)
    pairs = select_pairs_within(
        [write_pair(example, backbone.template, tokenizer) for example in chosen], tokenizer, config.max_tokens
    )
    learner = _add_adapters(model, backbone)
    train_sft(learner, tokenizer, pairs, config, out, record, backbone)
    name_base(learner, str(backbone.model), backbone.revision)  # adapters are saved separately, as they were trained
    save(learner, tokenizer, out)
    counts = {"demonstrations": len(pairs), "left_out": wanted - len(pairs)}
    return {**counts, "parameters": sum(w.numel() for n, w in learner.named_parameters() if "lora_" not in n)}


def _build_embedded(
    backbone: BackboneConfig, pairs: Sequence[Pair], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer = build_tokenizer(prompt + solution for prompt, solution in pairs[:4096])
    return build_model(backbone, tokenizer, seed), tokenizer


def _load(backbone: BackboneConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = str(backbone.model)
    folder = name if Path(name).is_dir() else str(fetch_snapshot(name, backbone.revision))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="right", trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    dtype = getattr(torch, backbone.dtype)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, trust_remote_code=False), tokenizer


def _add_adapters(model: PreTrainedModel, backbone: BackboneConfig) -> Any:
    settings = configure_adapters(backbone)
    if settings is None:
        return model
    from peft import get_peft_model

    return get_peft_model(model, settings)


def _draw_demonstrations(config: ColdStartConfig) -> Iterator[Pair]:
    rng, count = random.Random(f"cold start/{config.number}"), config.steps * config.problems_per_step
    if config.task != "coins":
        task: Any = BENCHMARKS.get(config.task)
        for problem in task.problems("lessons", count, config.number):
            yield problem.prompt, task.demonstrate(problem.prompt, rng, config.belief, config.slip)
        return
    pupil = Pupil(config.misconceptions, config.belief, config.slip)
    for problem in draw("lessons", count, config.number, config.operations):
        yield problem.prompt, demonstrate(read(problem.prompt), rng, pupil)
