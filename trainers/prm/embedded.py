"""Train the embedded process reward model: a tiny token classifier of coins steps with the exact checker's labels.

The model is Llama-shaped, because Granite, the architecture of the embedded backbone, has no class for token
classification. It reads a solution once, from left to right, and generates nothing. Labels of steps alone did not teach
it sums: whether a sum is right is one bit, and depends on four tokens together. Therefore all layers except the last
are also trained to predict each next token, like a language model. The last layer only has to detect where a step
differs from the prediction.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evals.coins.problems import draw, read
from evals.coins.pupil import draw_pupil
from evals.coins.solutions import attempt, check
from trainers import Emit
from trainers.backbones.tiny import MAX_POSITIONS, build_tokenizer, save
from trainers.prm.config import EmbeddedPrmConfig
from trainers.prm.reading import Reader
from trainers.teaching import UNLABELLED

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WIDTH, LAYERS, HEADS = 128, 3, 4
WRONG, RIGHT = 0, 1
"""The classes, in the order of Qwen2.5-Math-PRM."""

Lesson = tuple[str, list[str], frozenset[int]]
"""A problem, the steps of a solution, and the indices of its wrong steps."""


def train_prm(config: EmbeddedPrmConfig, out: Path, record: Emit) -> None:
    """Build the embedded model, train it, and write model and tokenizer to `out`."""
    from trainers.lessons import teach

    taught = list(draw_lessons(config))
    tokenizer = build_tokenizer(problem + "\n".join(steps) + "\n" for problem, steps, _ in taught[:4096])
    model = build_model(tokenizer, config.number)
    reader = Reader(tokenizer, "trl")
    teach(
        model, tokenizer, [label_lesson(reader, lesson) for lesson in taught], compute_lesson_loss, config, out, record
    )
    save(model, tokenizer, out)


def draw_lessons(config: EmbeddedPrmConfig) -> Iterator[Lesson]:
    """Yield solutions with errors, with the exact checker's labels of their steps."""
    rng = random.Random(f"prm/{config.number}")
    for problem in draw("reviews", config.steps * config.problems_per_step, config.number, config.operations):
        chain = read(problem.prompt)
        steps = attempt(chain, rng, draw_pupil(config.misconceptions, config.slip, rng), config.stray)
        yield problem.prompt, steps, check(chain, steps).wrong


def build_model(tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """Return the model with random weights drawn from `seed`."""
    import torch
    from transformers import LlamaConfig, LlamaForTokenClassification

    no_dropout: dict[str, Any] = {"classifier_dropout": 0.0}
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=MAX_POSITIONS,
        initializer_range=0.06,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        id2label={WRONG: "wrong", RIGHT: "right"},
        label2id={"wrong": WRONG, "right": RIGHT},
        **no_dropout,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = LlamaForTokenClassification
        return cast("PreTrainedModel", model(shape))


def compute_lesson_loss(model: Any, inputs: dict[str, Any], _: torch.Tensor | None = None) -> torch.Tensor:
    """Return the mean loss of step labels plus that of the next tokens, which all layers but the last predict."""
    from torch.nn.functional import cross_entropy

    labels, ids, mask = inputs["labels"], inputs["input_ids"], inputs["attention_mask"]
    output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    foreseen = model.model.norm(output.hidden_states[-2]) @ model.get_input_embeddings().weight.T
    following = ids.masked_fill(mask == 0, UNLABELLED)[:, 1:]
    judged = cross_entropy(output.logits.flatten(0, 1), labels.flatten(), ignore_index=UNLABELLED)
    return judged + cross_entropy(foreseen[:, :-1].flatten(0, 1), following.flatten(), ignore_index=UNLABELLED)


def label_lesson(reader: Reader, lesson: Lesson) -> dict[str, list[int]]:
    """Return a lesson as tokens, with a label at the last token of each step and none elsewhere."""
    problem, steps, wrong = lesson
    reading = reader.read(problem, steps)
    labels = [UNLABELLED] * len(reading.ids)
    for step, place in enumerate(reading.ends):
        labels[place] = WRONG if step in wrong else RIGHT
    return {"input_ids": reading.ids, "labels": labels}
