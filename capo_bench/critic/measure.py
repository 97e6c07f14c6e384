"""Measuring a critic on labelled solutions: what is asked, of whom, and what came back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from capo_bench.critic.ask import AskProgress, CollectedCritiques, CritiqueTerms, Round
from capo_bench.critic.embedded import check_checkers, open_kept, prepare_critic
from capo_bench.critic.prm import PrmParams
from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home
from capo_bench.study.identity import hash_plain, identify_critic, judge_key
from evals.benchmarks import BENCHMARKS, Benchmark, Problem, StepCheck
from evals.critics.data import STEP_DATA, Loaded, Selection, StepData
from evals.critics.labels import LabelledSolution
from trainers import Emit
from trainers.critics.base import CriticParams, Solution, Surroundings

VERSION = 1


@dataclass(frozen=True)
class MeasurementRequest:
    """A measurement: of which critic, on which solutions of a data set of `STEP_DATA`, by how many critiques."""

    critic: CriticParams
    data: str
    selection: Selection = field(default_factory=Selection)
    terms: CritiqueTerms = field(default_factory=CritiqueTerms)


@dataclass(frozen=True)
class CriticMeasurement:
    """A measurement with its critiques.

    Attributes:
        id: Content hash of all that decides the result: the critic's identity, solutions, labels, K.
    """

    id: str
    request: MeasurementRequest
    data: StepData
    loaded: Loaded
    asked: CollectedCritiques

    @property
    def solutions(self) -> list[LabelledSolution]:
        """The labelled solutions."""
        return self.loaded.solutions


def measure(
    request: MeasurementRequest, home: Home, on_answer: Callable[[AskProgress], None], emit: Emit
) -> CriticMeasurement:
    """Load the data and ask the critic.

    Raises:
        DataErrors: All that is wrong with the data.
        RefusedError: Critic and data do not go together.
        RunError: The critic cannot be served.
        TooManyAbstainedError: Too many critiques are without a verdict.
    """
    data = STEP_DATA.get(request.data)
    way_out = "measure it on --data coins, or measure a language model here"
    check_checkers(request.critic, {data.name: data.benchmark}, way_out)
    loaded = data.load(request.selection)
    _check_solutions(request, loaded.solutions)
    benchmark: Benchmark = BENCHMARKS.get(data.benchmark) if data.benchmark else NoChecker(data.name)
    solutions = [Solution(solution.problem, solution.steps) for solution in loaded.solutions]
    with prepare_critic(request.critic, home, emit) as embedded:
        critic = open_kept(request.critic, Surroundings(benchmark, request.selection.seed, embedded), home)
        asked = Round(critic, solutions, request.terms, on_answer).run()
    return CriticMeasurement(hash_measurement(request, loaded.solutions), request, data, loaded, asked)


def identify_measurement(request: MeasurementRequest, solutions: Sequence[LabelledSolution]) -> dict[str, Any]:
    """Return all that decides the result."""
    return {
        "version": VERSION,
        "critic": {**identify_critic(request.critic), **_find_taught(request.critic)},
        "data": request.data,
        "solutions": fingerprint_solutions(solutions),
        "seed": request.selection.seed,
        "critiques": request.terms.critiques,
        "greedy": request.terms.greedy,
    }


def _find_taught(params: CriticParams) -> dict[str, str]:
    taught = params.taught if isinstance(params, PrmParams) else None
    return {} if taught is None else {"embedded": judge_key(taught)}


def hash_measurement(request: MeasurementRequest, solutions: Sequence[LabelledSolution]) -> str:
    """Return the hash of a measurement's identity."""
    return hash_plain(identify_measurement(request, solutions))


def fingerprint_solutions(solutions: Sequence[LabelledSolution]) -> str:
    """Return a short content hash of solutions and labels."""
    digested = hashlib.sha256()
    for solution in solutions:
        labels = [sorted(solution.labels.wrong), sorted(solution.labels.labelled)]
        digested.update(json.dumps([solution.id, asdict(solution.problem), solution.steps, labels]).encode())
    return digested.hexdigest()[:12]


def _check_solutions(request: MeasurementRequest, solutions: Sequence[LabelledSolution]) -> None:
    if not solutions:
        raise RefusedError([f"--data {request.data}: no labelled solution is left; choose other subsets or files"])
    unknown = sum(not solution.problem.answer for solution in solutions)
    if unknown and getattr(request.critic, "reference", False):
        problem = f"the critic is to see the reference answer (reference: true), and {unknown} of {len(solutions)}"
        raise RefusedError([f"{problem} solutions of {request.data} have none; use --set reference=false"])


class NoChecker:
    """The benchmark of data that no checker judges."""

    splits: Sequence[str] = ()
    checks_steps = False

    def __init__(self, name: str) -> None:
        self.name = name

    def problems(self, split: str, count: int, seed: int = 0) -> list[Problem]:
        """Hands out none."""
        return []

    def check_steps(self, problem: Problem, steps: Sequence[str]) -> StepCheck:
        """Refuse: a critic that asks this abstains."""
        raise RefusedError([f"no checker judges the steps of {self.name}; measure this critic on --data coins"])

    def fingerprint(self) -> str:
        """Nothing is behind it."""
        return ""
