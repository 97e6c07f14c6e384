"""Solutions of coins problems: how they are written, demonstrated with slips, and checked step by step."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evals.benchmarks import StepCheck
from evals.coins.problems import LIMIT, Chain, apply
from evals.verify.answers import boxed, clean
from evals.verify.rules import equal_numbers

SEPARATOR = "\n\n"
_STEP = re.compile(r"(-?\d{1,4}) ([+\-*]) (\d{1,4}) = (-?\d{1,4})", re.ASCII)
_ANSWER = re.compile(r"\\boxed\{[^{}]*\}")


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


@dataclass(frozen=True)
class _Reading:
    """What the steps so far come to: the total last claimed, and bounds on the number of operations done.

    The bounds differ after a step that is not the next operation: it may have stood in for one, or been one too many.
    """

    total: int
    least: int = 0
    most: int = 0


def check(chain: Chain, steps: Sequence[str]) -> StepCheck:
    """Say which steps are wrong in themselves and which merely follow an earlier slip.

    A step is right in itself if it does the next operation of the problem on the total that the step before claimed,
    and does the sum right; the answer, if it repeats the last claim after every operation is done. A step that does a
    later operation is wrong for what it skipped, and checking goes on from there. After any step that is not the next
    operation, checking goes on where the solution does: with the operation that the step left out or with the one
    after it. Text that is neither a sum nor an answer is wrong and does nothing.

    Args:
        chain: The problem.
        steps: The solution, cut into steps.
    """
    wrong: set[int] = set()
    follow: set[int] = set()
    truth = [chain.start, *chain.totals()]
    reading = _Reading(chain.start)
    for index, step in enumerate(steps):
        claim = reading.total
        rests_on, reading = _judge(chain, step.strip(), reading)
        if rests_on is None:
            wrong.add(index)
        elif claim != truth[rests_on]:
            follow.add(index)
    return StepCheck(frozenset(wrong), frozenset(follow))


def _judge(chain: Chain, step: str, reading: _Reading) -> tuple[int | None, _Reading]:
    """Return after how many operations a right step stands, None for a wrong one, and the reading after it."""
    match = _STEP.fullmatch(step)
    if match is None:
        done = len(chain.operations)
        return (done if reading.most == done and _is_answer(step, reading.total) else None), reading
    before, sign, operand, after = int(match[1]), match[2], int(match[3]), int(match[4])
    places = [i for i, operation in enumerate(chain.operations) if operation == (sign, operand) and i >= reading.least]
    expected = [i for i in places if i <= reading.most]
    if not expected:
        most = places[0] + 1 if places else min(reading.most + 1, len(chain.operations))
        return None, _Reading(after, reading.least, most)
    right = before == reading.total and after == apply(before, sign, operand)
    return (expected[-1] if right else None), _Reading(after, expected[-1] + 1, expected[-1] + 1)


def _is_answer(step: str, claim: int) -> bool:
    answer = boxed(step) if _ANSWER.fullmatch(step) else None
    return answer is not None and equal_numbers(clean(answer), str(claim)) is True
