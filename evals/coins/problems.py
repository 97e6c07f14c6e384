"""Draw and read the problems of coins: a running total with one operation per step.

A chain is a start and a list of operations on small numbers. A hash of the chain itself decides its pool. Therefore a
problem of one pool never occurs in another pool, whatever the seed. There are three pools: for training policies, for
training the embedded critic and process reward model, and for tests.

Problems of reinforcement learning never add or subtract six (`UNSEEN`), but those of the cold start do. A test split of
such problems therefore shows whether a misconception was unlearned, or only its instances in the problems of
reinforcement learning.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from evals.benchmarks import Problem

LIMIT = 15
"""Largest running total."""

VERBS = {"+": "finds", "-": "spends", "*": "makes it"}
NAMES = ("Ann", "Bob", "Eve", "Kim", "Lou", "Max", "Pam", "Tom")
_SIGN = {verb: sign for sign, verb in VERBS.items()}
_SENTENCE = re.compile(r"(\w+) (has|finds|spends|makes it) (\d+)")

Operation = tuple[str, int]
"""Sign and operand."""

UNSEEN: frozenset[Operation] = frozenset({("+", 6), ("-", 6)})
"""Operations that never occur in problems of reinforcement learning; the shipped misconceptions affect both."""

Pool = Literal["policy", "judge", "test"]


@dataclass(frozen=True)
class Chain:
    """A start value and the operations on it, as (sign, operand)."""

    name: str
    start: int
    operations: tuple[Operation, ...]

    def totals(self) -> list[int]:
        """Return the running total after each operation."""
        total, totals = self.start, []
        for sign, operand in self.operations:
            total = apply(total, sign, operand)
            totals.append(total)
        return totals


@dataclass(frozen=True)
class Split:
    """Settings of a split.

    Attributes:
        operations: Minimum and maximum number of operations of a chain.
        unseen: Whether `UNSEEN` operations occur: in every chain (True), in none (False) or in some (None).
        distractors: Numbers of sentences about another person; one of these numbers is drawn for each problem.
    """

    pool: Pool
    operations: tuple[int, int]
    unseen: bool | None = False
    distractors: tuple[int, ...] = (0,)


SPLITS = {
    "train": Split("policy", (5, 7)),
    "lessons": Split("policy", (2, 9), unseen=None, distractors=(0, 0, 0, 1)),
    "reviews": Split("judge", (2, 9), unseen=None, distractors=(0, 0, 0, 1)),
    "test": Split("test", (5, 7)),
    "longer": Split("test", (8, 9)),
    "distractors": Split("test", (5, 7), distractors=(1,)),
    "unseen": Split("test", (5, 7), unseen=True),
}
"""Splits by name.

``train`` is for reinforcement learning, ``lessons`` for the cold start, ``reviews`` for the embedded critic and PRM.
The others are test splits.
"""
MEASURED = tuple(name for name, split in SPLITS.items() if split.pool == "test")


def apply(total: int, sign: str, operand: int) -> int:
    """Return the total after one operation."""
    return {"+": total + operand, "-": total - operand, "*": total * operand}[sign]


def draw_chain(rng: random.Random, operations: tuple[int, int]) -> Chain:
    """Draw a chain whose running totals are between 0 and `LIMIT`."""
    total = start = rng.randint(1, 9)
    chosen: list[Operation] = []
    for _ in range(rng.randint(*operations)):
        sign, operand = rng.choice(_list_possible(total))
        total = apply(total, sign, operand)
        chosen.append((sign, operand))
    return Chain(rng.choice(NAMES), start, tuple(chosen))


@lru_cache(maxsize=LIMIT + 1)
def _list_possible(total: int) -> list[Operation]:
    moves = [(sign, n) for sign in "+-" for n in range(1, 7)] + [("*", 2), ("*", 3)] * 2
    return [(sign, n) for sign, n in moves if 0 <= apply(total, sign, n) <= LIMIT and (sign != "*" or total > 0)]


def render(chain: Chain, rng: random.Random, distractors: int = 0) -> str:
    """Return the problem's text, with sentences about other persons inserted."""
    sentences = [f"{chain.name} {VERBS[sign]} {n}{' times' if sign == '*' else ''}." for sign, n in chain.operations]
    others = [name for name in NAMES if name != chain.name]
    for _ in range(distractors):
        aside = f"{rng.choice(others)} has {rng.randint(1, 9)}."
        sentences.insert(rng.randint(0, len(sentences)), aside)
    return f"{chain.name} has {chain.start} coins. {' '.join(sentences)} How many?\n"


@lru_cache(maxsize=4096)
def read(prompt: str) -> Chain:
    """Return the chain of a problem's text: the sentences about the first person in it."""
    sentences = _SENTENCE.findall(prompt)
    name, _, start = sentences[0]
    operations = tuple((_SIGN[verb], int(n)) for who, verb, n in sentences[1:] if who == name)
    return Chain(name, int(start), operations)


def draw(split: str, count: int, seed: int, operations: tuple[int, int] | None = None) -> list[Problem]:
    """Return problems of a split; the same arguments give the same problems. `operations` is part of their ids.

    Raises:
        ValueError: The split does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"coins has no split {split!r}; it has {', '.join(SPLITS)}")
    kind = SPLITS[split]
    rng = random.Random(f"coins/{split}/{seed}")
    drawn = f"coins/{split}/{seed}" + (f"/{operations[0]}-{operations[1]}" if operations else "")
    problems: list[Problem] = []
    while len(problems) < count:
        chain = draw_chain(rng, operations or kind.operations)
        if _find_pool(chain) == kind.pool and kind.unseen in {None, not UNSEEN.isdisjoint(chain.operations)}:
            text = render(chain, rng, rng.choice(kind.distractors))
            problems.append(Problem(f"{drawn}/{len(problems)}", text, str(chain.totals()[-1])))
    return problems


def _find_pool(chain: Chain) -> Pool:
    """Return the pool of a chain: one eighth of all chains is for tests, one quarter for judges."""
    digest = hashlib.sha256(repr((chain.start, chain.operations)).encode()).digest()
    return "test" if digest[0] < 32 else "judge" if digest[0] < 96 else "policy"
