"""Sampling completions for evaluation, with Transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Completion:
    """One sampled completion.

    Attributes:
        text: Decoded without special tokens.
        tokens: Tokens sampled, the end token included.
        truncated: Whether the limit came before the end token.
    """

    text: str
    tokens: int
    truncated: bool


def load(model: str, dtype: str, revision: str | None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model, onto the GPU if there is one, and its tokenizer with padding on the left.

    Args:
        model: Folder or repository id.
        dtype: Name of the weights' precision in torch.
        revision: Revision of the repository.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    policy: Any = AutoModelForCausalLM.from_pretrained(model, revision=revision, dtype=getattr(torch, dtype))
    return policy.to(device), AutoTokenizer.from_pretrained(model, revision=revision, padding_side="left")


def sample(  # noqa: PLR0913 - the settings of sampling
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    temperature: float,
    max_tokens: int,
    batch_size: int,
    seed: int,
) -> list[Completion]:
    """Sample one completion of each prompt, in order.

    The draws depend on `seed`, on the prompts and on `batch_size`, and leave the global random state as it was.
    Nothing else that the model's repository recommends for generation is used.

    Args:
        model: The policy, a `PreTrainedModel`.
        tokenizer: Its tokenizer, padding on the left.
        prompts: Texts to continue; name one several times for several samples.
        temperature: Sampling temperature, above 0; no top-k, no top-p.
        max_tokens: Longest completion.
        batch_size: Prompts at a time.
        seed: Seed of the draws.
    """
    import torch

    completions: list[Completion] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.eval()
        for first in range(0, len(prompts), batch_size):
            batch = tokenizer(list(prompts[first : first + batch_size]), return_tensors="pt", padding=True)
            batch = batch.to(model.device)
            with torch.inference_mode():
                sequences = model.generate(
                    **batch,
                    do_sample=True,
                    temperature=temperature,
                    top_k=0,
                    top_p=1.0,
                    repetition_penalty=1.0,
                    max_new_tokens=max_tokens,
                    eos_token_id=tokenizer.eos_token_id,
                    pad_token_id=tokenizer.pad_token_id,
                )
            new = sequences[:, batch["input_ids"].shape[1] :].tolist()
            completions.extend(_completion(tokenizer, ids) for ids in new)
    return completions


def _completion(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> Completion:
    ended = tokenizer.eos_token_id in ids
    length = ids.index(tokenizer.eos_token_id) + 1 if ended else len(ids)
    text = tokenizer.decode(ids[:length], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Completion(str(text), length, not ended)
