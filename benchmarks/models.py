"""How fast a language model in this process answers: through evals/models, through `generate`, through lm-eval's class.

    python -m benchmarks.models FOLDER DATA [--critiques 4] [--solutions 8] [--tokens 64] [--rounds 3]

FOLDER holds a model that Transformers loads, with a chat template; DATA the benchmark files (``gsm8k/train.jsonl``).
Critics' prompts are put to the model on GSM8K's own solutions, k critiques of each: once through the one room, which
reads a prompt once for all of them, and once by `generate` with k copies. Then GSM8K's problems are answered greedily
through the one room and through lm-eval's own class. Both sides write the same number of tokens (no end token ends a
text), on one thread, in turns; ratios above 1 are in favour of the one room.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig
from transformers.utils import logging

from evals.models.base import Sampling
from evals.models.open import open_model
from evals.models.spec import ModelSpec
from evals.models.transformers import TransformersModel
from trainers.credit.prompt import critique_prompt


def read_rows(data: Path, count: int) -> list[dict[str, str]]:
    with (data / "gsm8k" / "train.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for _, line in zip(range(count), file, strict=False)]


def critics_prompts(model: TransformersModel, rows: Sequence[dict[str, str]]) -> list[str]:
    solutions = [row["answer"].split("\n") for row in rows]
    asked = [critique_prompt(row["question"], steps) for row, steps in zip(rows, solutions, strict=True)]
    return [model.prompt(text) for text in asked]


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], rounds: int, tokens: int) -> None:
    """Print the tokens a second of both sides, and the median ratio; the first round warms up."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds + 1)][1:]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(other / mine for mine, other in pairs)
    print(f"{name}: {tokens / mine:,.0f} and {tokens / other:,.0f} tokens/s, ratio {ratio:.2f}", flush=True)


def endless(model: TransformersModel) -> None:
    """Let no token end a completion, so that both sides write alike."""
    model._decoder = replace(model._decoder, ends={-1})


def by_generate(model: TransformersModel, prompts: Sequence[str], k: int, tokens: int) -> None:
    tokenizer: Any = model.tokenizer
    tokenizer.padding_side = "left"
    batch = tokenizer(list(prompts), return_tensors="pt", padding=True)
    named: Any = GenerationConfig
    settings = named(
        do_sample=True, top_k=0, max_new_tokens=tokens, num_return_sequences=k, eos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.inference_mode():
        model.model.generate(**batch, generation_config=settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--critiques", type=int, default=4)
    parser.add_argument("--solutions", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    rows = read_rows(given.data, given.solutions)
    spec = ModelSpec(model=str(given.folder), dtype="float32", template="message")
    model = open_model(spec)
    assert isinstance(model, TransformersModel)
    endless(model)
    prompts, k, tokens = critics_prompts(model, rows), given.critiques, given.tokens
    lengths = [len(model.encode(prompt)) for prompt in prompts]
    print(f"{len(prompts)} prompts of {min(lengths)} to {max(lengths)} tokens, {tokens} tokens a completion")
    sampling = Sampling(1.0, 1.0, tokens)
    compare(
        f"{k} critiques of each, one room and generate",
        lambda: asyncio.run(model.complete(prompts, k, sampling, seed=0)),
        lambda: by_generate(model, prompts, k, tokens),
        given.rounds,
        len(prompts) * k * tokens,
    )
    questions = [model.prompt(row["question"]) for row in rows]
    stock: Any = HFLM(model.model, tokenizer=model.tokenizer, batch_size=len(questions))
    settings = {"until": ["\0"], "max_gen_toks": tokens, "do_sample": False, "min_new_tokens": tokens}
    asked = [Instance("generate_until", {}, (question, settings), place) for place, question in enumerate(questions)]
    compare(
        "greedy answers, one room and lm-eval's class",
        lambda: asyncio.run(model.complete(questions, 1, sampling.greedily(), seed=0)),
        lambda: stock.generate_until(asked, disable_tqdm=True),
        given.rounds,
        len(questions) * tokens,
    )


if __name__ == "__main__":
    main()
