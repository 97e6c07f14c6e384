"""SFT: supervised training on demonstrations. The cold start of every other method, and a baseline by itself.

Source: the paper's SFT baseline, over TRL's `SFTTrainer` with the loss on the solution's tokens alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.methods import Emit

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train_sft(  # noqa: PLR0913 - the settings of one supervised run, none of which belong together
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    demonstrations: Sequence[tuple[str, str]],
    *,
    batch_size: int,
    learning_rate: float,
    seed: int,
    out: Path,
    record: Emit,
) -> None:
    """Train `model` in place, one pass over the demonstrations in the order given.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        demonstrations: (prompt, solution) pairs; the loss is on the solution and its end token.
        batch_size: Demonstrations per optimizer step; the last step takes what is left.
        learning_rate: Peak rate; falls to zero along a cosine.
        seed: Seed of whatever the trainer draws.
        out: Folder that the trainer may write to.
        record: Called once a step with ``{"step", "of", "loss"}``.
    """
    from transformers import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    from trainers.callbacks import Recorder

    steps = math.ceil(len(demonstrations) / batch_size)
    settings = SFTConfig(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(20, steps // 5),
        weight_decay=0.0,
        adam_beta2=0.98,  # the run is short: its second moments must not be those of its first steps
        # The order of the demonstrations is the caller's: already drawn at random, and so independent of the trainer.
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=False,
        bf16=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=seed,
        use_cpu=model.device.type == "cpu",
    )
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=_dataset(tokenizer, demonstrations),
        processing_class=tokenizer,
        callbacks=[Recorder(record, steps)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _dataset(tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[tuple[str, str]]) -> Dataset:
    from datasets import Dataset

    prompts: Any = tokenizer([prompt for prompt, _ in demonstrations])["input_ids"]
    # The tokens that open or close a text belong to the prompt; the end is added here.
    solutions: Any = tokenizer([solution for _, solution in demonstrations], add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id]
    rows = list(zip(prompts, solutions, strict=True))
    return Dataset.from_dict(
        {
            "input_ids": [prompt + solution + end for prompt, solution in rows],
            "labels": [[-100] * len(prompt) + solution + end for prompt, solution in rows],
        }
    )
