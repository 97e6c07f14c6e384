"""SFT: supervised training on demonstrations. It is the cold start of every other method, and a baseline by itself.

Source: the paper's SFT baseline; the loss is on the solution's tokens alone. TRL's `SFTTrainer` computes the same loss,
but its head also processes the prompts, and twice, which took a third of the time on a CPU. It also supports no other
loss and optimizer, so the training of critics would need a second implementation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.models.conventions import close_of_turn
from evals.models.prompt import Template, encode, render, render_turns
from evals.tasks.demonstrations import Demonstration
from trainers import Emit
from trainers.teaching import UNLABELLED, SftConfig, TeachingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from trainers.backbones import BackboneConfig

Pair = tuple[str, str]
"""Prompt and solution."""
PARTS = 8
"""Number of parts into which a step's demonstrations are split for separate passes, if their number allows it."""


def train_sft(  # noqa: PLR0913, PLR0917 - model, data, settings and outputs
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Pair],
    config: TeachingConfig,
    out: Path,
    record: Emit,
    backbone: BackboneConfig | None = None,
) -> None:
    """Train `model` in place, in one pass over the demonstrations in the given order.

    Within a step, demonstrations are sorted by length and split into parts. The loss is still the mean over the step's
    tokens, with less than half as much padding.

    Args:
        model: The model to train.
        tokenizer: Its tokenizer.
        demonstrations: (prompt, solution) pairs; the loss is on the solution and its end token.
        config: Demonstrations per optimizer step (the last step may have fewer), and the peak learning rates, which
            decay to zero along a cosine.
        out: Folder that the trainer may write to.
        record: Called once per step with ``{"step", "of", "loss", "num_input_tokens_seen", …}``.
        backbone: Settings of a model from the hub; None for an embedded model.
    """
    from trainers.lessons import compute_next_token_loss, teach

    rows = sort_by_length(tokenize(tokenizer, demonstrations), config.problems_per_step)
    micro_batch = config.micro_batch if isinstance(config, SftConfig) else None
    parts = count_parts(config.problems_per_step, micro_batch)
    teach(model, tokenizer, rows, compute_next_token_loss, config, out, record, parts, backbone)


def count_parts(size: int, micro_batch: int | None) -> int:
    """Return into how many parts a step is split: `PARTS` if that divides it, more if `micro_batch` requires it."""
    least = max(math.gcd(size, PARTS), math.ceil(size / (micro_batch or size)))
    return next(parts for parts in range(least, size + 1) if size % parts == 0)


def tokenize(tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[Pair]) -> list[dict[str, list[int]]]:
    """Return the tokens of the demonstrations and the labels of their solutions; a solution ends with the end token.

    A solution that already ends with an end-of-turn token gets no other.
    """
    # The token that starts a text belongs to the prompt; the end token is added here.
    prompts = [encode(prompt, tokenizer) for prompt, _ in demonstrations]
    solutions: Any = tokenizer([solution for _, solution in demonstrations], add_special_tokens=False)["input_ids"]
    ends = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    whole = [ids if ids and ids[-1] in ends else [*ids, tokenizer.eos_token_id] for ids in solutions]
    return [
        {"input_ids": prompt + ids, "labels": [UNLABELLED] * len(prompt) + ids}
        for prompt, ids in zip(prompts, whole, strict=True)
    ]


def write_pair(demonstration: Demonstration, template: Template, tokenizer: PreTrainedTokenizerBase) -> Pair:
    """Return the texts of a demonstration: the prompt in the format of rollouts, and the completion to learn.

    With a chat template, the completion ends with the template's end of turn, because rollouts must end in the same
    way.

    Args:
        demonstration: The demonstration. A problem is formatted like a rollout's prompt; a conversation is used as it
            is.
        template: The backbone's template.
        tokenizer: The backbone's tokenizer.

    Raises:
        ValueError: The demonstration is a conversation, but there is no chat template.
        ModelError: The chat template cannot be rendered.
    """
    prompt, completion = demonstration.prompt, demonstration.completion
    if template != "chat" and not isinstance(prompt, str):
        raise ValueError(
            f"a demonstration is a conversation, and template {template!r} puts problems alone; give the backbone "
            "template: chat, or name columns of problems and solutions (prompt, completion)"
        )
    if isinstance(prompt, str):
        text = render(prompt, template, tokenizer)
    else:
        text = render_turns([{"role": role, "content": turn} for role, turn in prompt], tokenizer, opened=True)
    return text, completion.rstrip() + close_of_turn(tokenizer) if template == "chat" else completion


def sort_by_length(rows: Sequence[dict[str, list[int]]], size: int) -> list[dict[str, list[int]]]:
    """Return rows in steps of `size`, with the rows of each step sorted by length."""
    steps = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [row for step in steps for row in sorted(step, key=lambda row: len(row["input_ids"]))]


def select_pairs_within(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, most: int) -> list[Pair]:
    """Return the (prompt, solution) pairs of at most `most` tokens.

    Raises:
        ValueError: All pairs are longer.
    """
    lengths = [len(row["input_ids"]) for row in tokenize(tokenizer, pairs)]
    kept = [pair for pair, length in zip(pairs, lengths, strict=True) if length <= most]
    if not kept:
        raise ValueError(
            f"max_tokens is {most} and the shortest of {len(pairs)} demonstrations has {min(lengths)} tokens: nothing "
            "is left to learn; set cold_start.max_tokens higher"
        )
    return kept
