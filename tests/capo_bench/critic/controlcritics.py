"""Control critics whose quality is known, because they read the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from capo_bench.critic.ask import AskProgress, CritiqueTerms
from capo_bench.critic.measure import CriticMeasurement, MeasurementRequest, measure
from capo_bench.store.home import Home
from evals.critics.data import STEP_DATA, Selection
from evals.critics.labels import LabelledSolution
from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.critics.base import Critic, CriticParams, Solution, Surroundings

FOUR = CritiqueTerms(4)
Answer = Callable[[LabelledSolution, int], Critique]


class ControlCritic:
    """Answers what a function of the labelled solution and the critique's index says; a greedy one has index -1."""

    def __init__(self, known: dict[tuple[str, tuple[str, ...]], LabelledSolution], answer: Answer, eager: bool) -> None:
        self._known, self._answer, self.eager = known, answer, eager
        self.calls: list[int] = []

    async def critique(
        self, solutions: Sequence[Solution], k: int, *, first: int = 0, greedy: bool = False
    ) -> list[list[Critique]]:
        self.calls.append(len(solutions))
        numbers = [-1] if greedy else range(first, first + k)
        labelled = [self._known[solution.problem.id, solution.steps] for solution in solutions]
        return [[self._answer(solution, number) for number in numbers] for solution in labelled]

    async def close(self) -> None:
        pass


class ControlParams(CriticParams):
    """Settings of a control critic; what it says is set on a subclass."""

    name: Literal["control"] = "control"
    known: ClassVar[dict[tuple[str, tuple[str, ...]], LabelledSolution]] = {}
    answer: ClassVar[Answer]
    eager: ClassVar[bool] = False

    def build(self, surroundings: Surroundings) -> Critic:
        return ControlCritic(self.known, type(self).answer, self.eager)


def control(answer: Answer, solutions: Sequence[LabelledSolution], *, eager: bool = False) -> ControlParams:
    """Return the settings of a critic that knows these solutions."""
    known = {(solution.problem.id, solution.steps): solution for solution in solutions}
    members: dict[str, Any] = {"known": known, "answer": staticmethod(answer), "eager": eager}
    members |= {"__annotations__": {"known": ClassVar[Any], "answer": ClassVar[Any], "eager": ClassVar[bool]}}
    return type("Control", (ControlParams,), {**members, "__module__": __name__})()


def measured(
    answer: Answer, data: str, home: Path, source: Path | None = None, terms: CritiqueTerms = FOUR, **selection: Any
) -> CriticMeasurement:
    """Measure a control critic on a data set."""
    chosen = Selection(source=source, **selection)
    params = control(answer, STEP_DATA.get(data).load(chosen).solutions)
    return measure(MeasurementRequest(params, data, chosen, terms), Home(home), quiet, print)


def quiet(state: AskProgress) -> None:
    """Tell nobody."""


def oracle(solution: LabelledSolution, index: int) -> Critique:
    """Flag the wrong steps."""
    return Critique(solution.labels.wrong, usage=Usage(10, 5, 2, money=0.5))


def silent(solution: LabelledSolution, index: int) -> Critique:
    """Flag nothing."""
    return Critique(frozenset())


def alarmed(solution: LabelledSolution, index: int) -> Critique:
    """Flag every step."""
    return Critique(frozenset(range(len(solution.steps))))


def mute(solution: LabelledSolution, index: int) -> Critique:
    """Give no verdict."""
    return Critique(None, "truncated")
