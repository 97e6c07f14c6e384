"""Times credit assignment for a large batch on one thread: 1,024 completions of 1,000 tokens, 4 critiques each.

Run with ``python benchmarks/credit.py``. The target is one second from token ids to advantages.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import perf_counter

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from trainers.credit.align import step_index
from trainers.credit.assign import CreditRule, assign
from trainers.credit.critique import Critique
from trainers.credit.normalization import all_tokens, group_advantages
from trainers.credit.segment import blank_lines
from trainers.credit.votes import VOTES

COMPLETIONS, TOKENS, CRITIQUES, GROUP, TARGET = 1024, 1000, 4, 16, 1.0


def byte_level() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(["She has 3 and finds 4, so she has 7.\n\nThen she spends 5.\n\n"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def main() -> None:
    tokenizer = byte_level()
    line = tokenizer("She has 3 and finds 4, so she has 7 – 全部.\n\n").input_ids
    batch = [(line * TOKENS)[:TOKENS]] * COMPLETIONS
    rng = np.random.default_rng(0)
    outcomes = rng.integers(0, 2, COMPLETIONS).astype(np.float64)
    rule = CreditRule(VOTES.get("majority"))
    step_index(batch[:1], tokenizer, blank_lines)

    began = perf_counter()
    alignment = step_index(batch, tokenizer, blank_lines)
    aligned = perf_counter()
    critiques = [
        [Critique(frozenset(np.flatnonzero(row).tolist())) for row in rng.random((CRITIQUES, len(steps))) < 0.3]
        for steps in alignment.steps
    ]
    criticised = perf_counter()
    credit = assign(outcomes, critiques, alignment, rule)
    assigned = perf_counter()
    group_advantages(all_tokens(2.0, 1.0), outcomes, credit.charges, alignment.index, GROUP)
    ended = perf_counter()

    seconds = (ended - criticised) + (aligned - began)
    print(f"{COMPLETIONS} completions × {TOKENS} tokens × {CRITIQUES} critiques")
    parts = (("steps", aligned - began), ("rewards", assigned - criticised), ("advantages", ended - assigned))
    print(" · ".join(f"{name} {part:.3f} s" for name, part in parts))
    print(f"total {seconds:.3f} s, {seconds / TARGET:.2f} of the target of {TARGET:g} s")


if __name__ == "__main__":
    main()
