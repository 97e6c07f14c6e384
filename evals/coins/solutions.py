"""Write solutions of coins problems like a pupil, and check them step by step."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evals.benchmarks import StepCheck
from evals.coins.problems import LIMIT, Chain, apply
from evals.coins.pupil import FAULTLESS, Pupil
from evals.verify.answers import clean, read_boxed
from evals.verify.numbers import compare_numbers

SEPARATOR = "\n\n"
_STEP = re.compile(r"(-?\d{1,4}) ([+\-*]) (\d{1,4}) = (-?\d{1,4})", re.ASCII)
_ANSWER = re.compile(r"\\boxed\{[^{}]*\}")
_BEGUN = re.compile(r"-?\d{1,4}(?: [+\-*](?: \d{1,4}(?: =)?)?)?|\\boxed\{ ?[^{} ]*", re.ASCII)
_BLANK_LINES = re.compile(r"\n\s*\n")


def demonstrate(chain: Chain, rng: random.Random, pupil: Pupil = FAULTLESS) -> str:
    """Write a pupil's solution; after a wrong step, later steps use its result."""
    total, lines = chain.start, []
    for index, (sign, operand) in enumerate(chain.operations):
        before, total = total, pupil.work_out(total, sign, operand, chain.operations[index + 1 :], rng)
        lines.append(f"{before} {sign} {operand} = {total}")
    return SEPARATOR.join([*lines, f"\\boxed{{{total}}}"])


@dataclass(frozen=True)
class _Reading:
    """State after some steps: the last claimed total, and bounds on the number of operations done.

    The bounds differ after a step that is not the next operation: it may have replaced one, or been an extra one.
    """

    total: int
    least: int = 0
    most: int = 0


@dataclass(frozen=True)
class _Statement:
    """A sum, an answer or other text, and the index of the step that contains each of its words (at least one)."""

    text: str
    steps: tuple[int, ...]

    def __add__(self, more: _Statement) -> _Statement:
        return _Statement(f"{self.text} {more.text}", self.steps + more.steps)


@dataclass(frozen=True)
class _Judgement:
    """Judgement of a statement.

    Attributes:
        stands: Number of operations after which the statement is made; None if no operation or answer is expected
            there.
        wrong: Indices of the words that make it wrong; empty if it is right.
    """

    stands: int | None
    wrong: range = range(0)


def check(chain: Chain, steps: Sequence[str]) -> StepCheck:
    """Return which steps are wrong in themselves, and which are right but follow from an earlier error.

    The sums and the answer are judged as the solution writes them, separated by blank lines, regardless of where steps
    are cut. A sum is right in itself if it applies the next operation of the problem to the total that the previous sum
    claimed, and its result is right. The answer is right if it repeats the last claim after all operations. A sum that
    does a later operation is wrong because it skips one, and checking continues from there. After any sum that is not
    the next operation, checking continues with what the solution does next: the operation that was left out, or the one
    after it. Text that is neither a sum nor an answer is wrong and does nothing.

    A step is wrong if it contains an error. If a sum is cut into several steps, the wrong step is the one with the
    first word that no right sum could have at that place: the total before the operation, else the sign, else the
    operand, else the result. For an answer it is the last word. The words before it are right, and those after it
    merely follow: a critic that judges each step by itself would say the same. Therefore one error makes only one step
    wrong.

    Args:
        chain: The problem.
        steps: The solution, cut into steps. A step that ends with a space continues in the next step
            (`list_step_texts`).
    """
    truth = [chain.start, *chain.totals()]
    wrong, follow = set[int](), set[int]()
    statements = list(_split_statements(steps))
    readings = _judge_all(chain, [statement.text for statement in statements])
    for statement, (judged, before) in zip(statements, readings, strict=True):
        wrong.update(statement.steps[word] for word in judged.wrong)
        if judged.wrong:
            follow.update(statement.steps[judged.wrong.stop :])
        if judged.stands is not None and before.total != truth[judged.stands]:
            follow.update(statement.steps)
    return StepCheck(frozenset(wrong), frozenset(follow - wrong))


def _split_statements(steps: Sequence[str]) -> Iterator[_Statement]:
    """Yield the statements of steps: texts between blank lines, joined if a sum or answer continues in the next."""
    begun: _Statement | None = None
    for index, step in enumerate(steps):
        texts = _BLANK_LINES.split(step.strip())
        for place, text in enumerate(texts, start=1):
            part = _Statement(text, (index,) * max(len(text.split()), 1))
            statement = part if begun is None else begun + part
            if begun is not None and not any(form.fullmatch(statement.text) for form in (_STEP, _ANSWER, _BEGUN)):
                yield begun
                statement = part
            goes_on = place == len(texts) and step.endswith(" ") and _BEGUN.fullmatch(statement.text)
            begun = statement if goes_on else None
            if begun is None:
                yield statement
    if begun is not None:
        yield begun


def review(chain: Chain, steps: Sequence[str]) -> list[tuple[str, bool]]:
    """Return for each step what it should have been, given the earlier claims, and whether it is wrong in itself.

    Each step must be one sum or answer, as `attempt` writes them. For a right step the result is the step itself. For a
    wrong step it is the next operation on the last claimed total, or the answer if all operations are done.
    """
    return [
        (_write_due(chain, before) if judged.wrong else step.strip(), bool(judged.wrong))
        for step, (judged, before) in zip(steps, _judge_all(chain, steps), strict=True)
    ]


def attempt(chain: Chain, rng: random.Random, pupil: Pupil, stray: float) -> list[str]:
    """Write the steps of a solution with all kinds of errors that a solver makes, as training data for a critic.

    Args:
        chain: The problem.
        rng: Source of random numbers.
        pupil: The pupil that computes the sums.
        stray: Probability that a step does another operation than the next one, starts from another total, or is left
            out or done twice; also the probability that the answer is not the last total.
    """
    total, lines, index = chain.start, [], 0
    while index < len(chain.operations):
        (sign, operand), before = chain.operations[index], total
        if rng.random() < stray:
            sign, operand, before, index = _draw_strayed(chain, index, total, rng)
        total = pupil.work_out(before, sign, operand, chain.operations[index + 1 :], rng)
        lines.append(f"{before} {sign} {operand} = {total}")
        index += 1
    answer = total + rng.randint(-3, 3) if rng.random() < stray else total
    return [*lines, f"\\boxed{{{answer}}}"]


def _draw_strayed(chain: Chain, index: int, total: int, rng: random.Random) -> tuple[str, int, int, int]:
    """Return sign, operand and start total of a step that is not the next one, and the index of its operation."""
    way = rng.choice(("sign", "operand", "before", "skip", "repeat"))
    if way == "skip":
        index = min(index + 1, len(chain.operations) - 1)
    if way == "repeat":
        index = max(index - 1, 0)
    sign, operand = chain.operations[index]
    if way == "sign":
        sign = rng.choice("+-*")
    if way == "operand":
        operand = rng.randint(1, 6)
    return sign, operand, rng.randint(0, LIMIT) if way == "before" else total, index


def _write_due(chain: Chain, reading: _Reading) -> str:
    if reading.most == len(chain.operations):
        return f"\\boxed{{{reading.total}}}"
    sign, operand = chain.operations[reading.most]
    return f"{reading.total} {sign} {operand} = {apply(reading.total, sign, operand)}"


def _judge_all(chain: Chain, statements: Sequence[str]) -> Iterator[tuple[_Judgement, _Reading]]:
    """Yield the judgement of each statement, and the state before it."""
    reading = _Reading(chain.start)
    for statement in statements:
        before = reading
        judged, reading = _judge(chain, statement.strip(), before)
        yield judged, before


def _judge(chain: Chain, statement: str, reading: _Reading) -> tuple[_Judgement, _Reading]:
    """Return the judgement of a statement, and the state after it."""
    match = _STEP.fullmatch(statement)
    if match is None:
        return _judge_answer(chain, statement, reading), reading
    before, sign, operand, after = int(match[1]), match[2], int(match[3]), int(match[4])
    places = [i for i, operation in enumerate(chain.operations) if operation == (sign, operand) and i >= reading.least]
    expected = [i for i in places if i <= reading.most]
    carried = before == reading.total
    if not expected:
        signs = [due for due, _ in chain.operations[reading.least : reading.most + 1]]
        at = 0 if not carried else 2 if sign in signs else 1
        most = places[0] + 1 if places else min(reading.most + 1, len(chain.operations))
        return _Judgement(None, range(at, at + 1)), _Reading(after, reading.least, most)
    place = expected[-1]
    at = 4 if carried else 0
    right = carried and after == apply(before, sign, operand)
    return _Judgement(place, range(0) if right else range(at, at + 1)), _Reading(after, place + 1, place + 1)


def _judge_answer(chain: Chain, statement: str, reading: _Reading) -> _Judgement:
    """Return the judgement of a statement that is not a sum."""
    done = len(chain.operations)
    if reading.most == done and _is_answer(statement, reading.total):
        return _Judgement(done)
    words = max(len(statement.split()), 1)
    return _Judgement(None, range(words - 1 if _ANSWER.fullmatch(statement) else 0, words))


def _is_answer(step: str, claim: int) -> bool:
    answer = read_boxed(step) if _ANSWER.fullmatch(step) else None
    return answer is not None and compare_numbers(clean(answer), str(claim)) is True
