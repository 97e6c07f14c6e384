"""The tasks of the protocol: checkers and true advantages by hand, and which methods give them the wrong sign."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.benchmarks import BENCHMARKS
from evals.coins.problems import Chain, read
from evals.coins.protocol import (
    FORKS,
    REPAIR,
    REPAIRS,
    Chooser,
    Fork,
    Mender,
    check_fork,
    check_repairs,
    read_fork,
    show_fork,
)
from trainers.credit.batch import Batch, Evidence, lay_out
from trainers.credit.monte_carlo import list_step_values
from trainers.credit.states import number_states
from trainers.credit.terms import Terms
from trainers.methods import find_credit_function

FORK = Fork("Ann", 4, ((("+", 3), ("-", 2)), (("*", 2),)))
CHAIN = Chain("Ann", 4, (("+", 3), ("*", 2)))


def judged(found: Any) -> tuple[list[int], list[int]]:
    return sorted(found.wrong), sorted(found.follow)


def test_a_smaller_choice_is_right_in_itself_and_makes_the_answer_unreachable() -> None:
    assert FORK.totals() == [7, 14]
    assert judged(check_fork(FORK, ["4 + 3 = 7", "7 * 2 = 14", "\\boxed{14}"])) == ([], [])
    assert judged(check_fork(FORK, ["4 - 2 = 2", "2 * 2 = 4", "\\boxed{4}"])) == ([], [1, 2])
    assert judged(check_fork(FORK, ["4 + 2 = 6", "6 * 2 = 13", "\\boxed{12}"])) == ([0, 1, 2], [])
    steps = ["4 - 2 = 2", "2 * 2 = 4", "\\boxed{4}"]
    assert Chooser(0.75).values(FORK, steps) == [0.75, 0, 0, 0]
    assert np.diff(Chooser(0.75).values(FORK, steps)).tolist() == [-0.75, 0, 0]
    assert np.diff(Chooser(0.75).values(FORK, ["4 + 3 = 7", "7 * 2 = 14", "\\boxed{14}"])).tolist() == [0.25, 0, 0]


def test_a_wrong_step_stays_wrong_when_a_later_one_mends_it() -> None:
    mended = ["4 + 3 = 8", "no, 4 + 3 = 7", "7 * 2 = 14", "\\boxed{14}"]
    assert judged(check_repairs(CHAIN, mended)) == ([0], [])
    assert judged(check_repairs(CHAIN, ["4 + 3 = 8", "8 * 2 = 16", "\\boxed{16}"])) == ([0], [1, 2])
    assert judged(check_repairs(CHAIN, ["4 + 3 = 7", "7 * 2 = 14", "\\boxed{15}"])) == ([2], [])
    pupil = Mender(slip=0.5, notice=0.5)  # an operation is right, or mended, with 3/4
    np.testing.assert_allclose(pupil.values(CHAIN, mended), [9 / 16, 3 / 8, 3 / 4, 1, 1])
    np.testing.assert_allclose(np.diff(pupil.values(CHAIN, mended)), [-3 / 16, 3 / 8, 1 / 4, 0])


@pytest.mark.parametrize("name", ["forks", "repairs"])
def test_problems_are_drawn_again_and_splits_are_apart(name: str) -> None:
    benchmark = BENCHMARKS.get(name)
    train, test = benchmark.problems("train", 60), benchmark.problems("test", 60)
    assert train == benchmark.problems("train", 60)
    assert not {p.prompt.partition(" ")[2] for p in train} & {p.prompt.partition(" ")[2] for p in test}
    assert benchmark.fingerprint() == benchmark.fingerprint()


seeds = st.integers(0, 500)


@given(seeds, st.floats(0.1, 0.9))
def test_a_fork_reads_as_it_is_shown_and_pupils_are_known(seed: int, choice: float) -> None:
    problem = FORKS.problems("train", seed % 7 + 1)[-1]
    fork = read_fork(problem.prompt)
    assert read_fork(show_fork(fork)) == fork
    steps = Chooser(choice).solve(fork, random.Random(seed))
    assert not FORKS.check_steps(problem, steps).wrong
    values = Chooser(choice).values(fork, steps)
    assert values[-1] == float(steps[-1] == f"\\boxed{{{problem.answer}}}")


def test_chances_are_what_becomes_of_many() -> None:
    fork, chain = read_fork(FORKS.problems("train", 3)[-1].prompt), read(REPAIRS.problems("train", 3)[-1].prompt)
    for pupil, problem, answer in (
        (Chooser(0.7), fork, fork.totals()[-1]),
        (Mender(0.3, 0.5), chain, chain.totals()[-1]),
    ):
        solve: Any = pupil.solve
        solutions = [solve(problem, random.Random(seed)) for seed in range(2000)]
        right = np.mean([steps[-1] == f"\\boxed{{{answer}}}" for steps in solutions])
        values: Any = pupil.values
        assert abs(right - values(problem, solutions[0])[0]) < 0.05


# -- which methods give the wrong sign

# The share of steps whose credit has the sign of their true advantage, under an exact critic. "kept": a larger choice
# in a rollout that a later, smaller one loses (88 steps). "slip": one that is mended, in a rollout that comes out right
# (315). "mend": the repair of a slip in a rollout that another slip loses (83).
SIGNS = {
    "outcome_only": {"kept": 0.0, "slip": 0.0, "mend": 0.0},  # the outcome is all that there is
    "lambda_grpo": {"kept": 0.0, "slip": 0.0, "mend": 0.0},  # divides it, and keeps its sign
    "spread": {"kept": 0.0, "slip": 0.0, "mend": 0.0},  # a repair pays for the slips of its rollout
    "progrs": {"kept": 0.0, "slip": 0.0, "mend": 0.0},  # a bonus too small to turn the outcome's sign
    "vppo": {"kept": 0.0, "slip": 0.0, "mend": 0.0},  # a right answer's errors earn; all that follows one pays
    "draco": {"kept": 0.0, "slip": 0.0, "mend": 0.0},  # a slip of a right rollout, a repair of a wrong one: nothing
    "first_error": {"kept": 0.0, "slip": 0.13, "mend": 0.0},  # a repair is charged as what follows an error
    "papo": {"kept": 0.0, "slip": 0.15, "mend": 0.0},
    "capo": {"kept": 0.0, "slip": 0.46, "mend": 0.0},  # the outcome outweighs the charge where most are wrong
    "prpo": {"kept": 0.0, "slip": 0.70, "mend": 0.0},
    "rtmc": {"kept": 0.84, "slip": 0.41, "mend": 0.45},  # states that few rollouts share say little
    "vineppo": {"kept": 1.0, "slip": 1.0, "mend": 1.0},  # who counts what becomes of a state is not misled
}


@dataclass(frozen=True)
class Sample:
    """Rollouts of a pupil: their steps, true advantages and outcomes by step, and each method's credit."""

    steps: np.ndarray
    truth: np.ndarray
    outcome: np.ndarray
    credit: dict[str, np.ndarray]

    def agreement(self, method: str, among: np.ndarray) -> float:
        signs = np.sign(self.credit[method].round(12)) == np.sign(self.truth)
        return float(signs[among].mean())


def sample(benchmark: Any, read_problem: Callable[[str], Any], pupil: Any) -> Sample:
    rows, flags, chances, outcomes, problems = [], [], [], [], []
    for problem in benchmark.problems("train", 40):
        for _ in range(16):
            steps = pupil.solve(read_problem(problem.prompt), random.Random(f"{problem.id}/{len(rows)}"))
            wrong = benchmark.check_steps(problem, steps).wrong
            rows.append(steps)
            problems.append(problem.id)
            flags += [float(place in wrong) for place in range(len(steps))]
            chances.append(pupil.values(read_problem(problem.prompt), steps)[:-1])
            outcomes.append(float(steps[-1] == f"\\boxed{{{problem.answer}}}"))
    value, before = list_step_values(chances, np.array(outcomes))
    evidence = Evidence(np.array(flags), None, value, before, number_states(problems, rows))
    batch = Batch(lay_out([[1] * len(row) for row in rows]), np.array(outcomes), 16, evidence)
    credit = {name: find_credit_function(name)(batch, Terms()).advantages for name in SIGNS}
    of_step = np.repeat(outcomes, [len(row) for row in rows])
    return Sample(np.array([step for row in rows for step in row]), value - before, of_step, credit)


@pytest.fixture(scope="module")
def forks() -> Sample:
    return sample(FORKS, read_fork, Chooser(0.6))


@pytest.fixture(scope="module")
def repairs() -> Sample:
    return sample(REPAIRS, read, Mender(slip=0.25, notice=0.6))


@pytest.mark.parametrize("method", SIGNS)
def test_which_methods_give_the_wrong_sign(forks: Sample, repairs: Sample, method: str) -> None:
    mends = np.char.startswith(repairs.steps, REPAIR)
    signs = {
        "kept": forks.agreement(method, (forks.truth > 0.1) & (forks.outcome == 0)),
        "slip": repairs.agreement(method, ~mends & (repairs.truth < -0.1) & (repairs.outcome == 1)),
        "mend": repairs.agreement(method, mends & (repairs.truth > 0.1) & (repairs.outcome == 0)),
    }
    assert signs == pytest.approx(SIGNS[method], abs=0.01)


def test_without_a_wrong_step_a_critic_adds_nothing_but_the_outcome(forks: Sample) -> None:
    for name in ("capo", "first_error", "vppo", "draco", "prpo"):
        np.testing.assert_allclose(np.sign(forks.credit[name]), np.sign(forks.credit["outcome_only"]))
    # What follows a smaller choice is worth nothing, and credit by outcomes blames all of it alike.
    lost = np.abs(forks.truth) < 1e-12
    wasted = {name: np.abs(credit[lost]).sum() / np.abs(credit).sum() for name, credit in forks.credit.items()}
    assert wasted["vineppo"] == 0
    assert wasted["rtmc"] < 0.02
    assert min(wasted[name] for name in ("capo", "outcome_only", "draco", "prpo")) > 0.7
