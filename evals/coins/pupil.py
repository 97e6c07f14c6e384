"""Simulate the pupils that write demonstrations: they have misconceptions and make random slips.

Real pupils do not make random errors. They follow rules that are wrong ("buggy" arithmetic: Brown & Burton 1978,
Cognitive Science 2(2)). A model that is trained on such a pupil's solutions considers the wrong rule the most likely
step. No decoding method corrects this: the greedy answer is wrong and must be unlearned. With random slips alone, the
right step stays the most likely one, and reinforcement learning can gain no more than a lower temperature does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, model_validator

from evals.coins.problems import LIMIT, Operation, apply, draw, read
from evals.settings import Strict

_CHECKED = 400
"""Number of problems on which the share of steps affected by misconceptions is computed."""


class Misconception(Strict):
    """A wrong rule for some operations.

    Attributes:
        sign: The operation to which it applies.
        operands: The operands to which it applies; None: all.
        crosses: If set, the rule applies only to operations on a total below this number whose result is at least this
            number; None: all.
        done_as: The operation that is done instead.
        error: Number that is added to the result.
    """

    sign: Literal["+", "-", "*"]
    operands: Annotated[tuple[int, ...], Field(min_length=1, strict=False)] | None = None
    crosses: int | None = None
    done_as: Literal["+", "-", "*"] | None = None
    error: int = 0

    @model_validator(mode="after")
    def _changes_something(self) -> Misconception:
        if self.done_as in {None, self.sign} and self.error == 0:
            raise ValueError(
                f"a misconception about {self.sign!r} that changes no result; set error to what the result is off by, "
                "or done_as to the operation that is done instead"
            )
        return self

    def result(self, total: int, sign: str, operand: int) -> int | None:
        """Return the rule's result of a step; None if the rule does not apply or its result is right."""
        right = apply(total, sign, operand)
        about = sign == self.sign and (self.operands is None or operand in self.operands)
        if not about or (self.crosses is not None and not total < self.crosses <= right):
            return None
        wrong = apply(total, self.done_as or sign, operand) + self.error
        return None if wrong == right else wrong


CARRY = Misconception(sign="+", crosses=10, error=-1)
TIMES_THREE = Misconception(sign="*", operands=(3,), done_as="+")
BORROW = Misconception(sign="-", operands=(5, 6), error=-1)
MISCONCEPTIONS = (CARRY, TIMES_THREE, BORROW)
"""A sum that crosses ten is one too small; times three is done as plus three; minus five or six is one too small."""


@dataclass(frozen=True)
class Pupil:
    """A simulated solver of the sums of a solution.

    Attributes:
        misconceptions: Its misconceptions; if several apply, the first is used.
        belief: Probability that it follows a misconception where one applies.
        slip: Probability that any other sum has a random error.
    """

    misconceptions: tuple[Misconception, ...] = ()
    belief: float = 0.0
    slip: float = 0.0

    def work_out(self, total: int, sign: str, operand: int, rest: Sequence[Operation], rng: random.Random) -> int:
        """Return the pupil's result of an operation.

        It follows no misconception and makes no slip after which the rest of the chain would leave the range of coins.
        """
        right = apply(total, sign, operand)
        wrong = self.by_rule(total, sign, operand)
        if wrong is not None and stays_in_range(wrong, rest) and rng.random() < self.belief:
            return wrong
        return _draw_slip(right, rest, rng) if rng.random() < self.slip else right

    def by_rule(self, total: int, sign: str, operand: int) -> int | None:
        """Return the result of the first misconception that applies to a step; None if none applies."""
        results = (rule.result(total, sign, operand) for rule in self.misconceptions)
        return next((result for result in results if result is not None), None)


FAULTLESS = Pupil()


def draw_pupil(misconceptions: Sequence[Misconception], slip: float, rng: random.Random) -> Pupil:
    """Return a pupil with each of the misconceptions at probability 1/2 and a random belief, so that pupils differ."""
    held = tuple(rule for rule in misconceptions if rng.random() < 1 / 2)
    return Pupil(held, rng.random(), slip)


@cache
def measure_touched_share(misconceptions: tuple[Misconception, ...], split: str) -> float:
    """Return the share of a split's steps for which a misconception gives a wrong result."""
    pupil = Pupil(misconceptions)
    steps = [step for problem in draw(split, _CHECKED, 0) for step in _list_steps(problem.prompt)]
    return sum(pupil.by_rule(*step) is not None for step in steps) / len(steps)


def _list_steps(prompt: str) -> list[tuple[int, str, int]]:
    chain = read(prompt)
    totals = [chain.start, *chain.totals()]
    return [(total, sign, operand) for total, (sign, operand) in zip(totals, chain.operations, strict=False)]


def _draw_slip(right: int, rest: Sequence[Operation], rng: random.Random) -> int:
    near = list_slips(right, rest)
    return rng.choice(near) if near else right


def list_slips(right: int, rest: Sequence[Operation]) -> list[int]:
    """Return the wrong totals near the right one from which the rest of the chain stays in range."""
    return [total for total in range(right - 5, right + 6) if total != right and stays_in_range(total, rest)]


def stays_in_range(total: int, rest: Sequence[Operation]) -> bool:
    """Return whether all totals of the rest of a chain stay in the range of coins."""
    for sign, operand in rest:
        if not 0 <= total <= LIMIT:
            return False
        total = apply(total, sign, operand)
    return 0 <= total <= LIMIT
