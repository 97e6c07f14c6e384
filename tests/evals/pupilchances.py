"""The chances of pupils in closed form: against them, what is counted over continuations can be checked.

A pupil is a policy whose every draw is known. From a total before operation k, the chance that it ends at the right
answer is a sum over the totals that the operation may come to, and these are few: the rule's, the right one, and slips
near it. What is written so far matters through the total that it claims last and the operations that it has done.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from evals.coins.problems import Chain, Operation, apply
from evals.coins.pupil import Pupil, list_slips, stays_in_range

Spread = dict[int, float]
"""Total to the probability of coming to it."""


def spread_of(pupil: Pupil, total: int, sign: str, operand: int, rest: tuple[Operation, ...]) -> Spread:
    """Return what a pupil makes of an operation, with probabilities: `Pupil.work_out` without a draw."""
    right = apply(total, sign, operand)
    wrong = pupil.by_rule(total, sign, operand)
    followed = pupil.belief if wrong is not None and stays_in_range(wrong, rest) else 0.0
    near = list_slips(right, rest)
    spread: Spread = {} if wrong is None or not followed else {wrong: followed}
    spread[right] = spread.get(right, 0.0) + (1 - followed) * (1 - pupil.slip)
    for slip in near or [right]:
        spread[slip] = spread.get(slip, 0.0) + (1 - followed) * pupil.slip / max(len(near), 1)
    return {after: share for after, share in spread.items() if share}


def chance(pupil: Pupil, chain: Chain, total: int, done: int) -> float:
    """Return the chance that a pupil ends at the right answer.

    Args:
        pupil: The policy.
        chain: The problem.
        total: What the solution claims so far.
        done: How many operations it has done.
    """
    target = [chain.start, *chain.totals()][-1]

    @cache
    def value(total: int, done: int) -> float:
        if done == len(chain.operations):
            return float(total == target)
        (sign, operand), rest = chain.operations[done], chain.operations[done + 1 :]
        spread = spread_of(pupil, total, sign, operand, rest)
        return sum(share * value(after, done + 1) for after, share in spread.items())

    return value(total, done)


def advantages(pupil: Pupil, chain: Chain, totals: list[int]) -> list[float]:
    """Return A_t = Q_t − Q_{t−1} of the steps of a solution that does the operations one after another.

    Args:
        pupil: The policy.
        chain: The problem.
        totals: What each step claims, one an operation.
    """
    claims = [chain.start, *totals]
    values = [chance(pupil, chain, total, done) for done, total in enumerate(claims)]
    return [after - before for before, after in pairwise(values)]
