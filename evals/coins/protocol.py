"""Define the tasks `forks` and `repairs` of the benchmark protocol, each with an exact checker and true advantages.

``forks``
    Some operations offer a choice, and the problem asks for the largest total. Every operation on a positive total
    increases with the total, so a smaller choice can never be made up for: the step is right in itself, but makes the
    right answer unreachable.
``repairs``
    A chain in which a solution may repeat its last operation, ``no, 3 + 4 = 7``: a later step repairs a wrong one.

A checker of steps does not call a smaller choice wrong, and calls a wrong step wrong whether or not it is repaired.
Both tasks therefore separate the correctness of a step from its value. The value is the step's true advantage, which is
computed here in closed form for simulated pupils. Problems of both tasks are drawn with `SPLITS`; a problem of `test`
never occurs in another split.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from evals.benchmarks import Problem, StepCheck
from evals.coins.problems import LIMIT, VERBS, Chain, Operation, apply, draw_chain, read, render
from evals.coins.solutions import SEPARATOR
from evals.verify.answers import read_boxed

SPLITS = ("lessons", "train", "test")
MOST, REPAIR = "How many at most?", "no, "
_SUM = re.compile(r"(no, )?(-?\d{1,4}) ([+\-*]) (\d{1,4}) = (-?\d{1,4})", re.ASCII)
_CHOICE = re.compile(r"(finds|spends|makes it) (\d+)")
_SIGN = {verb: sign for sign, verb in VERBS.items()}


@dataclass(frozen=True)
class Fork:
    """A start value and the choices after it, with one or two operations each."""

    name: str
    start: int
    choices: tuple[tuple[Operation, ...], ...]

    def totals(self) -> list[int]:
        """Return the largest total that can be reached after each choice."""
        total, totals = self.start, []
        for choice in self.choices:
            total = max(apply(total, *operation) for operation in choice)
            totals.append(total)
        return totals


def draw_fork(rng: random.Random) -> Fork:
    """Draw a start and four to six choices, about half with two operations; totals are positive and in range."""
    while True:
        chain = draw_chain(rng, (4, 6))
        choices = tuple((operation, *_draw_other(rng, operation)) for operation in chain.operations)
        fork = Fork(chain.name, chain.start, choices)
        if fork.totals()[-1] <= LIMIT and _find_lowest(fork) > 0:
            return fork


def _draw_other(rng: random.Random, operation: Operation) -> tuple[Operation, ...]:
    other = (rng.choice("+-"), rng.randint(1, 3))
    return (other,) if rng.random() < 1 / 2 and other != operation else ()


def _find_lowest(fork: Fork) -> int:
    total = lowest = fork.start
    for choice in fork.choices:
        total = min(apply(total, *operation) for operation in choice)
        lowest = min(lowest, total)
    return lowest


def show_fork(fork: Fork) -> str:
    """Return the problem's text."""
    clauses = [
        " or ".join(f"{VERBS[s]} {n}{' times' if s == '*' else ''}" for s, n in choice) for choice in fork.choices
    ]
    return f"{fork.name} has {fork.start} coins. {' '.join(f'{fork.name} {clause}.' for clause in clauses)} {MOST}\n"


def read_fork(prompt: str) -> Fork:
    """Return the fork of a problem's text."""
    first, *others = prompt.split(". ")
    name, start = first.split(" has ")
    choices = [
        tuple((_SIGN[verb], int(n)) for verb, n in _CHOICE.findall(sentence))
        for sentence in others
        if _CHOICE.search(sentence)
    ]
    return Fork(name, int(start.split()[0]), tuple(choices))


def check_fork(fork: Fork, steps: Sequence[str]) -> StepCheck:
    """Return which steps are wrong in themselves, and which are right but follow from an error or a smaller choice."""
    best, claim = [fork.start, *fork.totals()], fork.start
    wrong, follow = set[int](), set[int]()
    for place, step in enumerate(steps):
        done = min(place, len(fork.choices))
        match, before = _SUM.fullmatch(step.strip()), claim
        if match and not match[1] and place < len(fork.choices):
            operation, claim = (match[3], int(match[4])), int(match[5])
            right = int(match[2]) == before and operation in fork.choices[place] and apply(before, *operation) == claim
        else:
            right = place == len(fork.choices) and read_boxed(step) == str(before)
        if not right:
            wrong.add(place)
        elif before != best[done]:
            follow.add(place)
    return StepCheck(frozenset(wrong), frozenset(follow))


def check_repairs(chain: Chain, steps: Sequence[str]) -> StepCheck:
    """Return which steps are wrong in themselves, repaired or not, and which merely follow from an unrepaired error."""
    truth = [chain.start, *chain.totals()]
    claims, wrong, follow = [chain.start], set[int](), set[int]()
    for place, step in enumerate(steps):
        match = _SUM.fullmatch(step.strip())
        if match is None:
            right = len(claims) == len(truth) and read_boxed(step) == str(claims[-1])
        else:
            if match[1] and len(claims) > 1:
                claims.pop()
            due = chain.operations[len(claims) - 1] if len(claims) < len(truth) else None
            operation, before = (match[3], int(match[4])), claims[-1]
            right = operation == due and int(match[2]) == before and apply(before, *operation) == int(match[5])
            claims.append(int(match[5]))
        rests = truth[min(len(claims) - (match is not None), len(truth)) - 1]
        if not right:
            wrong.add(place)
        elif claims[-2 if match else -1] != rests:
            follow.add(place)
    return StepCheck(frozenset(wrong), frozenset(follow))


# -- pupils with known probabilities


@dataclass(frozen=True)
class Chooser:
    """A pupil of forks, which never makes arithmetic errors.

    Attributes:
        choice: Probability that it takes the larger of two different results.
    """

    choice: float

    def solve(self, fork: Fork, rng: random.Random) -> list[str]:
        """Write the steps of a solution."""
        total, lines = fork.start, []
        for options in fork.choices:
            ranked = sorted(options, key=lambda operation: apply(total, *operation))
            sign, operand = ranked[-1] if rng.random() < self.choice else ranked[0]
            lines.append(f"{total} {sign} {operand} = {apply(total, sign, operand)}")
            total = apply(total, sign, operand)
        return [*lines, f"\\boxed{{{total}}}"]

    def values(self, fork: Fork, steps: Sequence[str]) -> list[float]:
        """Return the probability of the right answer before each step of a solution of its own, and after the last."""
        claims = [fork.start, *(int(step.rpartition("= ")[2]) for step in steps[:-1])]
        best, chance, later = [fork.start, *fork.totals()], 1.0, [1.0]
        for options, total in zip(reversed(fork.choices), reversed(best[:-1]), strict=True):
            chance *= self.choice if len({apply(total, *operation) for operation in options}) > 1 else 1.0
            later.append(chance)
        chances = [value * (claim == top) for value, claim, top in zip(reversed(later), claims, best, strict=True)]
        return [*chances, chances[-1]]


@dataclass(frozen=True)
class Mender:
    """A pupil of repairs.

    Attributes:
        slip: Probability that the result of an operation is one too large.
        notice: Probability that it repeats such an operation, with the right result.
    """

    slip: float
    notice: float

    def solve(self, chain: Chain, rng: random.Random) -> list[str]:
        """Write the steps of a solution."""
        total, lines = chain.start, []
        for sign, operand in chain.operations:
            before, right = total, apply(total, sign, operand)
            total = right + (rng.random() < self.slip)
            lines.append(f"{before} {sign} {operand} = {total}")
            if total != right and rng.random() < self.notice:
                total = right
                lines.append(f"{REPAIR}{before} {sign} {operand} = {total}")
        return [*lines, f"\\boxed{{{total}}}"]

    def values(self, chain: Chain, steps: Sequence[str]) -> list[float]:
        """Return the probability of the right answer before each step of one of its solutions, and after the last step.

        A slip that is not noticed at once is never repaired: operations keep different totals different.
        """
        truth, done, sound = [chain.start, *chain.totals()], 0, True
        each = 1 - self.slip * (1 - self.notice)
        chances = [each ** len(chain.operations)]
        for step in steps[:-1]:
            mends = step.startswith(REPAIR)
            done += not mends
            claim = int(step.rpartition("= ")[2])
            fresh = sound or mends
            sound = claim == truth[done] and fresh
            rest = each ** (len(chain.operations) - done)
            chances.append(rest if sound else rest * self.notice if fresh and not mends else 0.0)
        return [*chances, float(sound)]


# -- benchmarks


class _Drawn:
    """A benchmark whose problems are drawn; a hash of the problem's text decides its split."""

    splits: Sequence[str] = SPLITS
    checks_steps = True
    name = ""

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Return `count` problems of `split`; the same arguments give the same problems."""
        rng, drawn = random.Random(f"{self.name}/{split}/{seed}"), list[Problem]()
        while len(drawn) < count:
            text, answer = self._draw(rng)
            held_out = hashlib.sha256(text.partition(" ")[2].encode()).digest()[0] < 32
            if held_out == (split == "test"):
                drawn.append(Problem(f"{self.name}/{split}/{seed}/{len(drawn)}", text, answer))
        return drawn

    def _draw(self, rng: random.Random) -> tuple[str, str]:
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return a short hash over a sample of every split."""
        sample = [[(p.prompt, p.answer) for p in self.problems(split, 16)] for split in self.splits]
        return hashlib.sha256(repr(sample).encode()).hexdigest()[:12]


class Forks(_Drawn):
    """Chains with choices; the problem asks for the largest total."""

    name = "forks"

    def _draw(self, rng: random.Random) -> tuple[str, str]:
        fork = draw_fork(rng)
        return show_fork(fork), str(fork.totals()[-1])

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Return which of the steps are wrong in themselves."""
        return check_fork(read_fork(problem.prompt), steps)

    def demonstrate(self, prompt: str, rng: random.Random, belief: float, slip: float) -> str:
        """Write the solution of a pupil that takes the smaller choice with probability `belief`, with right sums."""
        return SEPARATOR.join(Chooser(1 - belief).solve(read_fork(prompt), rng))


class Repairs(_Drawn):
    """Chains whose solutions may repair a step."""

    name = "repairs"

    def _draw(self, rng: random.Random) -> tuple[str, str]:
        chain = draw_chain(rng, (4, 6))
        return render(chain, rng), str(chain.totals()[-1])

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Return which of the steps are wrong in themselves, whether or not they are repaired."""
        return check_repairs(read(problem.prompt), steps)

    def demonstrate(self, prompt: str, rng: random.Random, belief: float, slip: float) -> str:
        """Write the solution of a pupil that slips, and repairs a slip with probability 1 − `belief`."""
        return SEPARATOR.join(Mender(slip, 1 - belief).solve(read(prompt), rng))


FORKS, REPAIRS = Forks(), Repairs()
