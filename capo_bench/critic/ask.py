"""Asking a critic for all critiques of a data set, in the thread that training asks in."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict, dataclass
from typing import Any

from capo_bench.critic.prm import explain_abstention
from trainers.credit.critique import Critique
from trainers.critics.base import Critic, Solution
from trainers.critics.critic_thread import Answers, CriticThread

BATCH = 32
"""Solutions of one question to a critic that works best on batches."""

AT_ONCE = 64
"""Questions under way to a critic that takes solutions one by one; its own bound on concurrency is within."""

ENOUGH = 64
"""Critiques from which on the share of abstentions means something."""


class TooManyAbstainedError(Exception):
    """More critiques are without a verdict than was allowed."""


@dataclass(frozen=True)
class AskProgress:
    """How far it is: solutions whose critiques are all there, critiques so far, and those without a verdict."""

    done: int
    of: int
    critiques: int
    abstained: int


@dataclass(frozen=True)
class CollectedCritiques:
    """What came back.

    Attributes:
        sampled: k critiques of each solution.
        greedy: The critique at temperature 0 of each solution, in a list of one; empty lists where none was asked.
    """

    sampled: list[list[Critique]]
    greedy: list[list[Critique]]
    seconds: float


@dataclass(frozen=True)
class _CritiqueTask:
    first: int
    solutions: Sequence[Solution]
    k: int
    greedy: bool


@dataclass(frozen=True)
class CritiqueTerms:
    """What is asked of every solution.

    Attributes:
        critiques: K, how many sampled critiques; 0 asks for the greedy one alone.
        greedy: Whether for one at temperature 0 as well.
        max_abstained: Largest share of critiques without a verdict.
    """

    critiques: int = 8
    greedy: bool = True
    max_abstained: float = 0.5


def critique_record(critique: Critique) -> dict[str, Any]:
    """Return a critique as plain data; steps count from 0."""
    return {**asdict(critique), "wrong": None if critique.wrong is None else sorted(critique.wrong)}


class Round:
    """One pass over a data set; the critic is closed at the end, and `on_answer` called after every answer."""

    def __init__(
        self,
        critic: Critic,
        solutions: Sequence[Solution],
        terms: CritiqueTerms,
        on_answer: Callable[[AskProgress], None],
    ) -> None:
        self._critic, self._solutions, self._terms, self._on_answer = critic, solutions, terms, on_answer
        self._sampled: list[list[Critique]] = [[] for _ in solutions]
        self._greedy: list[list[Critique]] = [[] for _ in solutions]
        self._asked, self._abstained = 0, Counter[str]()

    def run(self) -> CollectedCritiques:
        """Ask and wait.

        Raises:
            TooManyAbstainedError: Too many critiques are without a verdict.
        """
        began = time.perf_counter()
        critic_thread = CriticThread(self._critic)
        try:
            self._ask_all(critic_thread, AT_ONCE if self._critic.eager else 1)
        finally:
            critic_thread.close()
        self._check(least=1)
        return CollectedCritiques(self._sampled, self._greedy, time.perf_counter() - began)

    def _ask_all(self, critic_thread: CriticThread, at_once: int) -> None:
        waiting: dict[Future[Answers], _CritiqueTask] = {}
        for question in self._questions():
            if len(waiting) >= at_once:
                self._take_some(waiting)
            waiting[critic_thread.ask(question.solutions, question.k, greedy=question.greedy)] = question
        while waiting:
            self._take_some(waiting)

    def _questions(self) -> Iterator[_CritiqueTask]:
        size = 1 if self._critic.eager else BATCH
        for first in range(0, len(self._solutions), size):
            batch = self._solutions[first : first + size]
            if self._terms.critiques:
                yield _CritiqueTask(first, batch, self._terms.critiques, greedy=False)
            if self._terms.greedy:
                yield _CritiqueTask(first, batch, 1, greedy=True)

    def _take_some(self, waiting: dict[Future[Answers], _CritiqueTask]) -> None:
        for future in wait(waiting, return_when=FIRST_COMPLETED).done:
            question = waiting.pop(future)
            kept = self._greedy if question.greedy else self._sampled
            for place, row in enumerate(future.result().critiques, question.first):
                kept[place] = row
                self._asked += len(row)
                self._abstained.update(filter(None, map(explain_abstention, row)))
        self._on_answer(self._state())
        self._check(least=ENOUGH)

    def _state(self) -> AskProgress:
        complete = zip(self._sampled, self._greedy, strict=True)
        wanted = (self._terms.critiques, int(self._terms.greedy))
        done = sum((len(row), len(greedy)) == wanted for row, greedy in complete)
        return AskProgress(done, len(self._solutions), self._asked, self._abstained.total())

    def _check(self, least: int) -> None:
        abstained = self._abstained.total()
        if self._asked >= least and abstained > self._terms.max_abstained * self._asked:
            asked = "critiques" if self._terms.critiques else "solutions"
            reasons = ", ".join(f"{reason} {count}" for reason, count in self._abstained.most_common())
            raise TooManyAbstainedError(
                f"{abstained} of {self._asked} {asked} have no verdict ({reasons}): more than --max-abstained "
                f"{self._terms.max_abstained} allows; correct the critic's settings, or allow more"
            )
