"""CPU time of reading critiques and voting on them, 100,000 of each kind: ``python -m benchmarks.parse``."""

from __future__ import annotations

import random
import time

from trainers.credit.critique import Critique
from trainers.credit.parse import parse
from trainers.credit.votes import VOTES, build_flags, combine

CRITIQUES, K, TARGET = 100_000, 4, 2.0
SENTENCE = (
    "Here the solution adds what Ann finds to the total so far; the sum of both is as claimed, nothing is left out."
)


def main() -> None:
    draw = random.Random(0)
    for kind, steps, remark in (("tiny critic", 4, "right"), ("analysis", 6, f"{SENTENCE} {SENTENCE}\n")):
        measure(kind, steps, [written(draw, steps, remark) for _ in range(CRITIQUES)])


def written(draw: random.Random, steps: int, remark: str) -> str:
    lines = [
        f"[{number}] {draw.randint(0, 30)} + {draw.randint(0, 30)} = {draw.randint(0, 60)} {remark}"
        for number in range(1, steps + 1)
    ]
    wrong = [number for number in range(1, steps + 1) if draw.random() < 0.2]
    return "\n".join([*lines, f"Wrong steps: {wrong}"])


def measure(kind: str, steps: int, texts: list[str]) -> None:
    started = time.process_time()
    verdicts = [parse(text, "steps", steps) for text in texts]
    parsed = time.process_time()
    critiques = [Critique(verdict) for verdict in verdicts if not isinstance(verdict, str)]
    majority = VOTES.get("majority")
    for first in range(0, len(critiques), K):
        combine(majority, build_flags([critiques[first : first + K]], [steps]))
    voted = time.process_time()
    characters = sum(map(len, texts)) / len(texts)
    print(f"{kind}: {len(critiques)} critiques of {characters:.0f} characters and {steps} steps, votes of {K}")
    print(
        f"parser {parsed - started:.3f} s · votes {voted - parsed:.3f} s · total {voted - started:.3f} s,"
        f" {(voted - started) / TARGET:.2f} of the target of {TARGET:.0f} s"
    )


if __name__ == "__main__":
    main()
