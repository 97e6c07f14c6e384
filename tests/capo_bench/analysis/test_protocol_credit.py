"""The tasks of the protocol: checkers and true advantages by hand, and which methods give them the wrong sign."""

from __future__ import annotations

import random
from collections.abc import Callable
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
    true_advantages,
)
from trainers.credit.batch import Batch, Evidence, layout_of
from trainers.credit.states import state_numbers
from trainers.credit.terms import Terms
from trainers.credit.values import step_values
from trainers.methods import credit_function

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
    assert true_advantages(Chooser(0.75).values(FORK, steps)) == [-0.75, 0, 0]
    assert true_advantages(Chooser(0.75).values(FORK, ["4 + 3 = 7", "7 * 2 = 14", "\\boxed{14}"])) == [0.25, 0, 0]


def test_a_wrong_step_stays_wrong_when_a_later_one_mends_it() -> None:
    mended = ["4 + 3 = 8", "no, 4 + 3 = 7", "7 * 2 = 14", "\\boxed{14}"]
    assert judged(check_repairs(CHAIN, mended)) == ([0], [])
    assert judged(check_repairs(CHAIN, ["4 + 3 = 8", "8 * 2 = 16", "\\boxed{16}"])) == ([0], [1, 2])
    assert judged(check_repairs(CHAIN, ["4 + 3 = 7", "7 * 2 = 14", "\\boxed{15}"])) == ([2], [])
    pupil = Mender(slip=0.5, notice=0.5)  # an operation is right, or mended, with 3/4
    np.testing.assert_allclose(pupil.values(CHAIN, mended), [9 / 16, 3 / 8, 3 / 4, 1, 1])
    np.testing.assert_allclose(true_advantages(pupil.values(CHAIN, mended)), [-3 / 16, 3 / 8, 1 / 4, 0])


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


# -- which methods are misled

METHODS = ("capo", "outcome_only", "first_error", "vppo", "draco", "prpo", "rtmc", "vineppo")


def credited(
    benchmark: Any, solve: Callable[[Any, random.Random], list[str]], values: Callable[[Any, list[str]], list[float]],
    read_problem: Callable[[str], Any],
) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:  # fmt: skip
    """Return each method's credit under the exact checker's flags, the true advantages, and the steps."""
    rows, flags, chances, outcomes, problems = [], [], [], [], []
    for problem in benchmark.problems("train", 40):
        for _ in range(16):
            steps = solve(read_problem(problem.prompt), random.Random(f"{problem.id}/{len(rows)}"))
            wrong = benchmark.check_steps(problem, steps).wrong
            rows.append(steps)
            problems.append(problem.id)
            flags += [float(place in wrong) for place in range(len(steps))]
            chances.append(values(read_problem(problem.prompt), steps)[:-1])
            outcomes.append(float(steps[-1] == f"\\boxed{{{problem.answer}}}"))
    value, before = step_values(chances, np.array(outcomes))
    evidence = Evidence(np.array(flags), None, value, before, state_numbers(problems, rows))
    batch = Batch(layout_of([[1] * len(row) for row in rows]), np.array(outcomes), 16, evidence)
    found = {name: credit_function(name)(batch, Terms()).advantages for name in METHODS}
    return found, value - before, [step for row in rows for step in row]


def agreement(credit: np.ndarray, truth: np.ndarray, steps: np.ndarray) -> float:
    return float((np.sign(credit[steps].round(12)) == np.sign(truth[steps])).mean())


def test_forks_mislead_credit_that_judges_steps_by_themselves() -> None:
    """No step is wrong, so VPPO finds no error to part at, and DRACO none to blame; who counts values is not misled."""
    pupil = Chooser(0.6)
    found, truth, _ = credited(FORKS, pupil.solve, pupil.values, read_fork)
    bad, good = truth < -0.1, truth > 0.1
    signs = {name: agreement(credit, truth, bad | good) for name, credit in found.items()}
    # What follows a smaller choice is worth nothing, and outcome-based credit blames all of it alike.
    lost = np.abs(truth) < 1e-12
    wasted = {name: float(np.abs(credit[lost]).sum() / np.abs(credit).sum()) for name, credit in found.items()}
    assert signs["vineppo"] == 1
    assert wasted["vineppo"] == 0
    assert max(signs[name] for name in ("capo", "outcome_only", "first_error", "vppo", "draco", "prpo")) < 0.95
    assert signs["rtmc"] > max(signs[name] for name in ("capo", "vppo", "draco")), signs
    assert wasted["rtmc"] < 0.5 * min(wasted[name] for name in ("capo", "outcome_only", "draco", "prpo")), wasted
    for name in ("first_error", "draco", "prpo"):  # without a flag they are the outcome alone
        np.testing.assert_allclose(np.sign(found[name]), np.sign(found["outcome_only"]))


def test_repairs_mislead_credit_that_ends_at_the_first_error() -> None:
    """A wrong step costs and its repair earns: who charges all that follows an error charges the repair."""
    pupil = Mender(slip=0.25, notice=0.6)
    found, truth, steps = credited(REPAIRS, pupil.solve, pupil.values, read)
    repairs = np.array([step.startswith(REPAIR) for step in steps]) & (truth > 0.1)
    slips = np.array([not step.startswith(REPAIR) for step in steps]) & (truth < -0.1)
    earns = {name: agreement(credit, truth, repairs) for name, credit in found.items()}
    costs = {name: agreement(credit, truth, slips) for name, credit in found.items()}
    assert earns["vineppo"] == costs["vineppo"] == 1
    assert earns["capo"] > earns["first_error"] + 0.1, earns
    assert costs["capo"] > costs["outcome_only"] + 0.1, costs
    assert costs["vppo"] < 0.9, "in a right solution no error is looked for"
