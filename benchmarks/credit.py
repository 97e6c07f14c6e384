"""Times credit for a large batch on one thread: 1,024 completions of 1,000 tokens, 4 critiques each.

Run with ``python benchmarks/credit.py``. The targets are one second from token ids to CAPO's advantages, and two
seconds for the advantages of every method that gives credit to steps.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import fields
from time import perf_counter

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from trainers.credit.align import index_steps
from trainers.credit.batch import Batch, Evidence, lay_out
from trainers.credit.critique import Critique
from trainers.credit.segment import blank_lines
from trainers.credit.terms import Terms
from trainers.credit.votes import VOTES, build_flags, combine
from trainers.methods import METHODS, find_credit_function

COMPLETIONS, TOKENS, CRITIQUES, GROUP, TARGET, ALL = 1024, 1000, 4, 16, 1.0, 2.0


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
    index_steps(batch[:1], tokenizer, blank_lines)

    began = perf_counter()
    layout = lay_out(index_steps(batch, tokenizer, blank_lines).tokens)
    aligned = perf_counter()
    critiques = [
        [Critique(frozenset(np.flatnonzero(row).tolist())) for row in rng.random((CRITIQUES, count)) < 0.3]
        for count in layout.steps.tolist()
    ]
    criticised = perf_counter()
    shares = combine(VOTES.get("majority"), build_flags(critiques, layout.steps))
    voted = perf_counter()
    whole = Batch(layout, outcomes, GROUP, Evidence(shares=shares))
    layout.by_token(find_credit_function("capo")(whole, Terms()).advantages)
    ended = perf_counter()

    seconds = (ended - criticised) + (aligned - began)
    print(f"{COMPLETIONS} completions × {TOKENS} tokens × {CRITIQUES} critiques")
    parts = (("steps", aligned - began), ("votes", voted - criticised), ("advantages", ended - voted))
    print(" · ".join(f"{name} {part:.3f} s" for name, part in parts))
    print(f"total {seconds:.3f} s, {seconds / TARGET:.2f} of the target of {TARGET:g} s")

    drawn = {entry.name: rng.random(len(layout.tokens)) for entry in fields(Evidence)}
    everything = Batch(layout, outcomes, GROUP, Evidence(**{**drawn, "shares": shares}))
    together = 0.0
    for name in METHODS.names():
        if METHODS.get(name).credit is not None:
            began = perf_counter()
            layout.by_token(find_credit_function(name)(everything, Terms()).advantages)
            together += perf_counter() - began
            print(f"{name} {perf_counter() - began:.3f} s")
    print(f"all methods {together:.3f} s, {together / ALL:.2f} of the target of {ALL:g} s")


if __name__ == "__main__":
    main()
