"""Attach a LoRA adapter to its base without merging, so that the evaluated model is the trained one.

Merging rounds to the base's precision: in bfloat16 it loses nearly all changes of small learning rates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.models.base import ModelError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel


def attach(model: Any, folder: Path, *, trainable: bool = False) -> PeftModel:
    """Return a base with an adapter attached.

    If the adapter adds tokens, the base's embeddings get as many rows as in the adapter's training.

    Raises:
        ModelError: The adapter does not fit the base; the message names the first mismatch.
    """
    from peft import PeftModel
    from peft.utils.save_and_load import load_peft_weights

    saved = load_peft_weights(str(folder), device="cpu")
    embeddings = _name_embeddings(model)
    rows = max((rows for module in embeddings for rows in _count_rows(f"{module}.", saved)), default=0)
    if rows and rows != model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(rows, mean_resizing=False)
    try:
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except (ValueError, RuntimeError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise _make_misfit(
            folder, model, next((line for line in lines if "size mismatch" in line), lines[0])
        ) from error
    _check_names(adapted, folder, saved, embeddings)
    # The adapter's weights are loaded, and tied weights are tied. Tying them again would undo an adapter's own weights.
    adapted.config.tie_word_embeddings = False
    return adapted


def _check_names(
    adapted: PeftModel, folder: Path, saved: Mapping[str, torch.Tensor], embeddings: tuple[str, ...]
) -> None:
    """Raise `ModelError` unless the weights of an adapter are exactly those that the base expects."""
    from peft.utils.save_and_load import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    if missing := sorted(wanted - saved.keys()):
        raise _make_misfit(folder, adapted, f"it has nothing for {missing[0]} (1 of {len(missing)})")
    # peft may write more tensors for embeddings than it reads.
    unused = sorted(name for name in saved.keys() - wanted if not name.startswith(embeddings))
    if unused:
        raise _make_misfit(folder, adapted, f"the base has no place for {unused[0]} (1 of {len(unused)})")


def _make_misfit(folder: Path, model: Any, why: str) -> ModelError:
    return ModelError(
        f"the adapter {folder} was made for another model than its base {model.name_or_path}: {why}; write the model "
        f"that it was trained on as base_model_name_or_path into {folder / 'adapter_config.json'}"
    )


def _name_embeddings(model: Any) -> tuple[str, ...]:
    """Return an adapter's names for the input and output embeddings of its base."""
    modules = [model.get_input_embeddings(), model.get_output_embeddings()]
    named = model.named_modules()
    return tuple(f"base_model.model.{name}" for name, module in named if any(module is each for each in modules))


def _count_rows(module: str, saved: Mapping[str, torch.Tensor]) -> Iterator[int]:
    """Yield the number of tokens of each of an adapter's tensors for an embedding."""
    for name, tensor in saved.items():
        part = name.removeprefix(module)
        if part == name:
            continue
        if part == "lora_embedding_A":
            yield tensor.shape[1]
        elif part.endswith("weight") and part != "lora_A.weight":
            yield tensor.shape[0]
