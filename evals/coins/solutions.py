"""Solutions of coins problems: how they are written, demonstrated with slips, and checked step by step."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from evals.benchmarks import StepCheck
from evals.coins.problems import LIMIT, Chain, apply
from evals.verify.answers import boxed

SEPARATOR = "\n\n"
_STEP = re.compile(r"(-?\d{1,4}) ([+\-*]) (\d{1,4}) = (-?\d{1,4})", re.ASCII)


def demonstrate(chain: Chain, rng: random.Random, slip: float = 0.0) -> str:
    """Write a solution in which each step slips with probability `slip` and later steps follow the slip."""
    total, lines = chain.start, []
    for index, (sign, operand) in enumerate(chain.operations):
        before, total = total, apply(total, sign, operand)
        if rng.random() < slip:
            total = _slipped(total, chain.operations[index + 1 :], rng)
        lines.append(f"{before} {sign} {operand} = {total}")
    return SEPARATOR.join([*lines, f"\\boxed{{{total}}}"])


def _slipped(total: int, rest: Sequence[tuple[str, int]], rng: random.Random) -> int:
    """Return a wrong total near the right one from which the rest of the chain stays in range."""
    near = [n for n in range(total - 5, total + 6) if n != total and _in_range(n, rest)]
    return rng.choice(near) if near else total


def _in_range(total: int, rest: Sequence[tuple[str, int]]) -> bool:
    for sign, operand in rest:
        if not 0 <= total <= LIMIT:
            return False
        total = apply(total, sign, operand)
    return 0 <= total <= LIMIT


def check(chain: Chain, steps: Sequence[str]) -> StepCheck:
    """Say which steps are wrong in themselves and which merely follow an earlier slip.

    A step is right in itself if it does the next operation of the problem on the total that the step before claimed,
    and does the sum right; the answer, if it repeats the last claim after every operation is done. A step that does a
    later operation is wrong for what it skipped, and checking goes on from there.

    Args:
        chain: The problem.
        steps: The solution, cut into steps.
    """
    wrong: set[int] = set()
    follow: set[int] = set()
    truth = [chain.start, *chain.totals()]
    claim, at = chain.start, 0
    for index, step in enumerate(steps):
        right, claim_after, at_after = _judge(chain, step.strip(), claim, at)
        if not right:
            wrong.add(index)
        elif claim != truth[at]:
            follow.add(index)
        claim, at = claim_after, at_after
    return StepCheck(frozenset(wrong), frozenset(follow))


def _judge(chain: Chain, step: str, claim: int, at: int) -> tuple[bool, int, int]:
    """Return whether the step is right in itself, the total it claims, and the operations done after it."""
    match = _STEP.fullmatch(step)
    if match is None:
        return _is_answer(step, claim) and at == len(chain.operations), claim, at
    before, sign, operand, after = int(match[1]), match[2], int(match[3]), int(match[4])
    here = _next_match(chain, (sign, operand), at)
    right = here == at and before == claim and after == apply(before, sign, operand)
    done = min(at + 1, len(chain.operations)) if here is None else here + 1
    return right, after, done


def _next_match(chain: Chain, operation: tuple[str, int], at: int) -> int | None:
    later = [i for i in range(at, len(chain.operations)) if chain.operations[i] == operation]
    return later[0] if later else None


def _is_answer(step: str, claim: int) -> bool:
    return step.startswith("\\boxed") and boxed(step) == str(claim)
