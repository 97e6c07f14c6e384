"""SFT: supervised training on demonstrations. The cold start of every other method, and a baseline by itself.

Source: the paper's SFT baseline, over TRL's `SFTTrainer` with the loss on the solution's tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from evals.config import Positive, Strict
from trainers.methods import Emit

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl.trainer.sft_config import SFTConfig


PARTS = 8
"""So many parts of a step's demonstrations pass through the model one after the other, where its number allows it."""


class SupervisedConfig(Strict):
    """Supervised training of an embedded model, one pass over solutions of coins drawn for it.

    `slip` is the probability that a step of a solution is wrong; `operations` bounds a problem's length.
    """

    seed: int = 0
    steps: Positive = 400
    problems_per_step: Positive = 64
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    slip: Annotated[float, Field(ge=0, lt=1)] = 0.25
    operations: Annotated[tuple[Positive, Positive], Field(strict=False)] = (2, 7)

    @field_validator("operations")
    @classmethod
    def _ordered(cls, bounds: tuple[int, int]) -> tuple[int, int]:
        if bounds[0] > bounds[1]:
            raise ValueError(f"the smaller bound comes first: [{bounds[1]}, {bounds[0]}]")
        return bounds


def train_sft(  # noqa: PLR0913, PLR0917 - what is trained, on what, how, and where it goes
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[tuple[str, str]],
    config: SupervisedConfig,
    out: Path,
    record: Emit,
) -> None:
    """Train `model` in place, one pass over the demonstrations in the order given.

    Within a step they go by length, in parts: the loss is the mean over the step's tokens all the same, and less than
    half as much is padded.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        demonstrations: (prompt, solution) pairs; the loss is on the solution and its end token.
        config: Demonstrations per optimizer step (the last takes what is left), and the peak of the learning rate,
            which falls to zero along a cosine.
        out: Folder that the trainer may write to.
        record: Called once a step with ``{"step", "of", "loss"}``.
    """
    from transformers import PrinterCallback
    from trl.trainer.sft_trainer import SFTTrainer

    from trainers.callbacks import Recorder

    size = config.problems_per_step
    steps = math.ceil(len(demonstrations) / size)
    trainer = SFTTrainer(
        model=model,
        args=_settings(config, steps, out, use_cpu=model.device.type == "cpu"),
        train_dataset=_dataset(tokenizer, demonstrations, size),
        processing_class=tokenizer,
        callbacks=[Recorder(record, steps)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _settings(config: SupervisedConfig, steps: int, out: Path, *, use_cpu: bool) -> SFTConfig:
    from trl.trainer.sft_config import SFTConfig

    size = config.problems_per_step
    parts = math.gcd(size, PARTS)
    in_parts = {"per_device_train_batch_size": size // parts, "gradient_accumulation_steps": parts}
    settings = settings_of_lesson(config, steps, out, use_cpu=use_cpu) | in_parts
    return SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True})


def settings_of_lesson(config: SupervisedConfig, steps: int, out: Path, *, use_cpu: bool) -> dict[str, Any]:
    """Return what `transformers.TrainingArguments`, or a subclass, takes for a short supervised training.

    Args:
        config: Examples per optimizer step, and the peak of the learning rate.
        steps: Optimizer steps.
        out: Folder that the trainer may write to.
        use_cpu: Whether the model is on the CPU.
    """
    return {
        "output_dir": str(out),
        "max_steps": steps,
        "per_device_train_batch_size": config.problems_per_step,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": min(20, steps // 5),
        "weight_decay": 0.0,
        "adam_beta2": 0.98,  # the run is short: its second moments must not be those of its first steps
        # The order of the examples is the caller's: already drawn at random, and so independent of the trainer.
        "train_sampling_strategy": "sequential",
        "gradient_checkpointing": False,
        "bf16": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": config.seed,
        "use_cpu": use_cpu,
    }


def _dataset(tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[tuple[str, str]], size: int) -> Dataset:
    """Return the tokens of the demonstrations and the labels of their solutions, each `size` of them by length."""
    from datasets import Dataset

    prompts: Any = tokenizer([prompt for prompt, _ in demonstrations])["input_ids"]
    # The tokens that open or close a text belong to the prompt; the end is added here.
    solutions: Any = tokenizer([solution for _, solution in demonstrations], add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id]
    drawn = list(zip(prompts, solutions, strict=True))
    steps = [drawn[at : at + size] for at in range(0, len(drawn), size)]
    rows = [row for step in steps for row in sorted(step, key=lambda row: len(row[0]) + len(row[1]))]
    return Dataset.from_dict(
        {
            "input_ids": [prompt + solution + end for prompt, solution in rows],
            "labels": [[-100] * len(prompt) + solution + end for prompt, solution in rows],
        }
    )
