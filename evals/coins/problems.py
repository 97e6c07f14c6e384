"""The problems of coins: a running total, one operation a step.

A chain is a start and a list of operations on small numbers. Which chains are held out is decided by the chain
itself, so no training problem, whatever its seed, is ever a test problem.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import lru_cache

from evals.benchmarks import Problem

LIMIT = 15
"""Largest running total."""

VERBS = {"+": "finds", "-": "spends", "*": "makes it"}
NAMES = ("Ann", "Bob", "Eve", "Kim", "Lou", "Max", "Pam", "Tom")
_SIGN = {verb: sign for sign, verb in VERBS.items()}
_SENTENCE = re.compile(r"(\w+) (has|finds|spends|makes it) (\d+)")
_HELD_OUT_SHARE = 1 / 8


@dataclass(frozen=True)
class Chain:
    """A start and the operations on it, as (sign, operand)."""

    name: str
    start: int
    operations: tuple[tuple[str, int], ...]

    def totals(self) -> list[int]:
        """Return the running total after each operation."""
        total, totals = self.start, []
        for sign, operand in self.operations:
            total = apply(total, sign, operand)
            totals.append(total)
        return totals


@dataclass(frozen=True)
class Split:
    """What a split holds: how many operations, how many distracting sentences, held out or not."""

    operations: tuple[int, int]
    held_out: bool
    distractors: int = 0


SPLITS = {
    "train": Split((5, 7), held_out=False),
    "test": Split((5, 7), held_out=True),
    "longer": Split((8, 9), held_out=True),
    "distractors": Split((5, 7), held_out=True, distractors=2),
}


def apply(total: int, sign: str, operand: int) -> int:
    """Return the total after one operation."""
    return {"+": total + operand, "-": total - operand, "*": total * operand}[sign]


def draw_chain(rng: random.Random, operations: tuple[int, int]) -> Chain:
    """Draw a chain whose running total stays within 0 and `LIMIT`."""
    total = start = rng.randint(1, 9)
    chosen: list[tuple[str, int]] = []
    for _ in range(rng.randint(*operations)):
        sign, operand = rng.choice(_possible(total))
        total = apply(total, sign, operand)
        chosen.append((sign, operand))
    return Chain(rng.choice(NAMES), start, tuple(chosen))


@lru_cache(maxsize=LIMIT + 1)
def _possible(total: int) -> list[tuple[str, int]]:
    moves = [(sign, n) for sign in "+-" for n in range(1, 7)] + [("*", 2), ("*", 3)] * 2
    return [(sign, n) for sign, n in moves if 0 <= apply(total, sign, n) <= LIMIT and (sign != "*" or total > 0)]


def render(chain: Chain, rng: random.Random, distractors: int = 0) -> str:
    """Return the problem's text, with sentences about somebody else mixed in."""
    sentences = [f"{chain.name} {VERBS[sign]} {n}{' times' if sign == '*' else ''}." for sign, n in chain.operations]
    others = [name for name in NAMES if name != chain.name]
    for _ in range(distractors):
        aside = f"{rng.choice(others)} {rng.choice(('has', 'finds', 'spends'))} {rng.randint(1, 9)}."
        sentences.insert(rng.randint(0, len(sentences)), aside)
    return f"{chain.name} has {chain.start} coins. {' '.join(sentences)} How many?\n"


@lru_cache(maxsize=4096)
def read(prompt: str) -> Chain:
    """Return the chain behind a problem's text: the sentences about the person it opens with."""
    sentences = _SENTENCE.findall(prompt)
    name, _, start = sentences[0]
    operations = tuple((_SIGN[verb], int(n)) for who, verb, n in sentences[1:] if who == name)
    return Chain(name, int(start), operations)


def draw(split: str, count: int, seed: int, operations: tuple[int, int] | None = None) -> list[Problem]:
    """Return problems of a split; the same arguments give the same problems.

    Args:
        split: A key of `SPLITS`.
        count: How many.
        seed: Seed of the draw.
        operations: Bounds on the length of the chain; None takes the split's own. Part of the problems' ids.

    Raises:
        ValueError: No such split.
    """
    if split not in SPLITS:
        raise ValueError(f"coins has no split {split!r}; it has {', '.join(SPLITS)}")
    kind = SPLITS[split]
    rng = random.Random(f"coins/{split}/{seed}")
    drawn = f"coins/{split}/{seed}" + (f"/{operations[0]}-{operations[1]}" if operations else "")
    problems: list[Problem] = []
    while len(problems) < count:
        chain = draw_chain(rng, operations or kind.operations)
        if _held_out(chain) == kind.held_out:
            text = render(chain, rng, kind.distractors)
            problems.append(Problem(f"{drawn}/{len(problems)}", text, str(chain.totals()[-1])))
    return problems


def _held_out(chain: Chain) -> bool:
    key = hashlib.sha256(repr((chain.start, chain.operations)).encode()).digest()
    return key[0] < 256 * _HELD_OUT_SHARE
