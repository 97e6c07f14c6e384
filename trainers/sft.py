"""SFT: supervised training on demonstrations. The cold start of every other method, and a baseline by itself.

Source: the paper's SFT baseline; the loss is on the solution's tokens alone. TRL's `SFTTrainer` does the same, but its
head reads the prompts too, and twice: on a CPU that took a third of the time. And it knows no other loss and optimizer,
so that lessons of critics would need a second mechanism.
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
"""So many parts of a step's demonstrations pass through the model one after the other, where its number allows it."""


def train_sft(  # noqa: PLR0913, PLR0917 - what is trained, on what, how, and where it goes
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[Pair],
    config: TeachingConfig,
    out: Path,
    record: Emit,
    backbone: BackboneConfig | None = None,
) -> None:
    """Train `model` in place, one pass over the demonstrations in the order given.

    Within a step they go by length, in parts: the loss is the mean over the step's tokens all the same, and less than
    half as much is padded.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        demonstrations: (prompt, solution) pairs; the loss is on the solution and its end token.
        config: Demonstrations per optimizer step (the last takes what is left), and the peaks of the learning rates,
            which fall to zero along a cosine.
        out: Folder that the trainer may write to.
        record: Called once a step with ``{"step", "of", "loss", "num_input_tokens_seen", …}``.
        backbone: How a model of a hub is held; None: an embedded one.
    """
    from trainers.lessons import next_token_loss, teach

    rows = by_length(tokenize(tokenizer, demonstrations), config.problems_per_step)
    micro_batch = config.micro_batch if isinstance(config, SftConfig) else None
    parts = parts_of_step(config.problems_per_step, micro_batch)
    teach(model, tokenizer, rows, next_token_loss, config, out, record, parts, backbone)


def parts_of_step(size: int, micro_batch: int | None) -> int:
    """Return in how many parts a step passes through the model: `PARTS` where that divides it, more if memory asks."""
    least = max(math.gcd(size, PARTS), math.ceil(size / (micro_batch or size)))
    return next(parts for parts in range(least, size + 1) if size % parts == 0)


def tokenize(tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[Pair]) -> list[dict[str, list[int]]]:
    """Return the tokens of the demonstrations and the labels of their solutions; a solution ends with the end token.

    A solution that brings the end of its turn gets no other.
    """
    # The token that opens a text belongs to the prompt; the end is added here.
    prompts = [encode(prompt, tokenizer) for prompt, _ in demonstrations]
    solutions: Any = tokenizer([solution for _, solution in demonstrations], add_special_tokens=False)["input_ids"]
    ends = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    whole = [ids if ids and ids[-1] in ends else [*ids, tokenizer.eos_token_id] for ids in solutions]
    return [
        {"input_ids": prompt + ids, "labels": [UNLABELLED] * len(prompt) + ids}
        for prompt, ids in zip(prompts, whole, strict=True)
    ]


def write_pair(demonstration: Demonstration, template: Template, tokenizer: PreTrainedTokenizerBase) -> Pair:
    """Return a demonstration as texts: what the model reads, as it reads it in rollouts, and what it learns to write.

    In a chat template the completion closes its turn as the template does, since that is how a rollout must end.

    Args:
        demonstration: The demonstration. A problem is put as a rollout puts it; a conversation stands as it is.
        template: How the backbone is asked.
        tokenizer: The backbone's.

    Raises:
        ValueError: A conversation without a chat template.
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


def by_length(rows: Sequence[dict[str, list[int]]], size: int) -> list[dict[str, list[int]]]:
    """Return rows in their steps of `size`, those of a step by length."""
    steps = [rows[at : at + size] for at in range(0, len(rows), size)]
    return [row for step in steps for row in sorted(step, key=lambda row: len(row["input_ids"]))]


def pairs_within(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, most: int) -> list[Pair]:
    """Return the (prompt, solution) pairs of at most `most` tokens.

    Raises:
        ValueError: There is none.
    """
    lengths = [len(row["input_ids"]) for row in tokenize(tokenizer, pairs)]
    kept = [pair for pair, length in zip(pairs, lengths, strict=True) if length <= most]
    if not kept:
        raise ValueError(
            f"max_tokens is {most} and the shortest of {len(pairs)} demonstrations has {min(lengths)} tokens: nothing "
            "is left to learn; set cold_start.max_tokens higher"
        )
    return kept
