"""Real tokenizers, trained here on a few lines."""

from __future__ import annotations

import json

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

EOS = "<|endoftext|>"
LINES = ["3\n\n4\n\n5\n\n7", "She has 3.\n\nShe finds 4, so 7.\n\nThe answer is \\boxed{7}"] * 9


def _byte_level_backend(pattern: str) -> Tokenizer:
    """Byte-level BPE whose tokens stay within what `pattern` matches."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(LINES, trainer)
    return backend


@pytest.fixture(scope="session")
def qwen():
    """The tokenizer class of the embedded backbone."""
    model = json.loads(_byte_level_backend(PRETOKENIZE_REGEX).to_str())["model"]
    return Qwen2Tokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])


@pytest.fixture(scope="session")
def merging():
    """A byte-level tokenizer with tokens that run over line breaks, an added token and a second special one."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_byte_level_backend(r"\S?\n+\w*|\s?\w+"), eos_token=EOS)
    tokenizer.add_tokens(["<dénke> "])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    return tokenizer


@pytest.fixture(scope="session")
def byte_fallback():
    """A tokenizer in the manner of SentencePiece: word starts marked, unknown characters as single bytes."""
    vocab = {"<unk>": 0, "</s>": 1, "▁a": 2, "▁b": 3, "\n\n": 4, **{f"<0x{byte:02X}>": 5 + byte for byte in range(256)}}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
