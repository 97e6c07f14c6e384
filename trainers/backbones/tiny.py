"""Build the embedded backbone: a Granite-shaped (Llama-like) model with about half a million random weights.

This module also trains its tokenizer.

`AutoTokenizer` builds the class that belongs to the model type. Granite's is the generic class, which uses the saved
file unchanged, so this tokenizer works after saving, with `AutoTokenizer`, `generate` and vLLM. Its vocabulary is
trained on the benchmark's own text.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from evals.models.prompt import MARK
from trainers.backbones import BackboneConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PAD, END = "<|endoftext|>", "<|im_end|>"
PIECES = r"\\boxed\{|[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+"
VOCABULARY = 512
MAX_POSITIONS = 1024


def build_tokenizer(texts: Iterable[str], pieces: str = PIECES) -> PreTrainedTokenizerBase:
    """Train the tokenizer on `texts`: byte-level BPE in which a number, with the space before it, is one token."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer=trainer)
    tokenizer: Any = PreTrainedTokenizerFast
    return cast("PreTrainedTokenizerBase", tokenizer(tokenizer_object=backend, pad_token=PAD, eos_token=END))


def build_model(config: BackboneConfig, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """Return the model with random weights drawn from `seed`."""
    import torch
    from transformers import GraniteConfig, GraniteForCausalLM

    shape = GraniteConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=2 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        # Larger than the usual 0.02: a model of this size that was initialised with 0.02 still looked up wrong
        # operations after 500 steps of the cold start; with 0.06 it did not.
        initializer_range=0.06,
        attention_multiplier=(config.width / 4) ** -0.5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # The template of the cold start's prompts: the text of the problem alone.
    setattr(shape, MARK, "bare")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = GraniteForCausalLM
        return cast("PreTrainedModel", model(shape))


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write model and tokenizer so that ``AutoModelForCausalLM`` and ``AutoTokenizer`` can load them."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
