"""Values counted over continuations, against pupils whose chances are known in closed form."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pupilchances import advantages, chance, spread_of

from evals.coins.problems import Chain, draw, read
from evals.coins.pupil import CARRY, FAULTLESS, MISCONCEPTIONS, Pupil
from evals.coins.solutions import SEPARATOR
from evals.models.base import Completion, Sampling
from evals.values import Chance, Counting, KeptChances, SolutionState, count_chances
from evals.verify import Verifier

PUPIL = Pupil(MISCONCEPTIONS, 0.6, 0.1)


@dataclass
class PupilModel:
    """A pupil that goes on from where a text stands, as a model would."""

    pupil: Pupil
    fails: float = 0.0
    asked: list[str] = field(default_factory=list)

    def prompt(self, text: str) -> str:
        return text

    async def complete(
        self, prompts: Sequence[str], n: int, sampling: Sampling, *, seed: int, first: int = 0
    ) -> list[list[Completion]]:
        self.asked += prompts
        return [[self._go_on(text, random.Random(f"{seed}/{text}/{i}")) for i in range(n)] for text in prompts]

    def _go_on(self, text: str, rng: random.Random) -> Completion:
        if rng.random() < self.fails:
            return Completion("out of memory", "error")
        problem, _, written = text.partition("How many?\n")
        chain, claims = read(problem + "How many?\n"), [line for line in written.split(SEPARATOR) if line]
        total = int(claims[-1].rpartition("= ")[2]) if claims else chain.start
        lines = []
        for index in range(len(claims), len(chain.operations)):
            (sign, operand), before = chain.operations[index], total
            total = self.pupil.work_out(before, sign, operand, chain.operations[index + 1 :], rng)
            lines.append(f"{before} {sign} {operand} = {total}")
        return Completion(SEPARATOR.join([*lines, f"\\boxed{{{total}}}"]))


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=1) as one:
        yield one


def count(model: Any, verifier: Verifier, states: Sequence[SolutionState], *args: Any) -> list[Chance]:
    return count_chances(model, verifier, states, Counting(samples=400), *args)


# -- closed forms


def test_a_chance_by_hand() -> None:
    """8 + 4 crosses ten: with probability 3/4 it comes to 11, which no later step rights; times one slip of none."""
    chain = Chain("Ann", 8, (("+", 4), ("-", 2)))
    pupil = Pupil((CARRY,), 0.75, 0.0)
    assert spread_of(pupil, 8, "+", 4, (("-", 2),)) == {11: 0.75, 12: 0.25}
    assert chance(pupil, chain, 8, 0) == 0.25
    assert advantages(pupil, chain, [12, 10]) == [0.75, 0]
    assert advantages(pupil, chain, [11, 9]) == [-0.25, 0]


def test_slips_may_cancel() -> None:
    """From 2 + 1 + 1 a slip of the first step is righted by a slip of the second, one of the nearby totals."""
    chain = Chain("Ann", 2, (("+", 1), ("+", 1)))
    pupil = Pupil((), 0.0, 0.5)
    wrong = chance(pupil, chain, 4, 1)  # the first step said 4, not 3
    near = [total for total in range(0, 11) if total != 5]
    assert wrong == pytest.approx(0.5 / len(near))


problems = st.integers(0, 199).map(lambda place: read(draw("lessons", 200, 0)[place].prompt))


@given(problems, st.floats(0, 1), st.floats(0, 0.9))
def test_what_an_operation_may_come_to_is_a_distribution(chain: Chain, belief: float, slip: float) -> None:
    (sign, operand), *rest = chain.operations
    spread = spread_of(Pupil(MISCONCEPTIONS, belief, slip), chain.start, sign, operand, tuple(rest))
    assert sum(spread.values()) == pytest.approx(1)
    assert min(spread.values()) >= 0


@given(problems, st.integers(0, 99))
def test_advantages_of_a_solution_add_up_to_what_came_of_it(chain: Chain, seed: int) -> None:
    """Σ A_t = outcome − V: nothing is lost, and nothing is credited twice."""
    rng, total, totals = random.Random(seed), chain.start, []
    for index, (sign, operand) in enumerate(chain.operations):
        total = PUPIL.work_out(total, sign, operand, chain.operations[index + 1 :], rng)
        totals.append(total)
    outcome = float(total == chain.totals()[-1])
    assert sum(advantages(PUPIL, chain, totals)) == pytest.approx(outcome - chance(PUPIL, chain, chain.start, 0))


def test_who_makes_no_mistake_has_no_advantage_by_a_right_step() -> None:
    chain = read(draw("test", 1, 0)[0].prompt)
    assert advantages(FAULTLESS, chain, chain.totals()) == [0] * len(chain.operations)


# -- counted


def states_of(count_of: int) -> list[tuple[SolutionState, float]]:
    """Return states on the way of pupils' solutions, with their chances in closed form."""
    found = []
    for problem in draw("test", count_of, 3):
        chain, rng = read(problem.prompt), random.Random(problem.id)
        total, lines = chain.start, list[str]()
        for index in range(len(chain.operations)):
            written = "".join(line + SEPARATOR for line in lines)
            found.append(
                (SolutionState(problem.prompt, written, problem.answer, 60), chance(PUPIL, chain, total, index))
            )
            (sign, operand), before = chain.operations[index], total
            total = PUPIL.work_out(before, sign, operand, chain.operations[index + 1 :], rng)
            lines.append(f"{before} {sign} {operand} = {total}")
    return found


def test_what_is_counted_is_near_the_closed_form(verifier: Verifier) -> None:
    states = states_of(8)
    counted = count(PupilModel(PUPIL), verifier, [state for state, _ in states])
    exact = [value for _, value in states]
    errors = [(one.value - value) / max(one.error, 0.02) for one, value in zip(counted, exact, strict=True)]
    assert max(map(abs, errors)) < 4
    assert sum(error * error for error in errors) / len(errors) < 2
    assert max(one.error for one in counted) <= 0.025


def test_equal_states_are_asked_about_once_and_kept(verifier: Verifier, tmp_path: Path) -> None:
    states = [state for state, _ in states_of(2)]
    model = PupilModel(PUPIL)
    first = count(model, verifier, [*states, *states], KeptChances(tmp_path, {"policy": "a"}))
    assert len(model.asked) == len(set(states))
    again = count(model, verifier, states, KeptChances(tmp_path, {"policy": "a"}))
    assert again == first[: len(states)]
    assert len(model.asked) == len(set(states)), "nothing is asked again"
    count(model, verifier, states[:1], KeptChances(tmp_path, {"policy": "b"}))
    assert len(model.asked) == len(set(states)) + 1, "another policy is another question"


def test_a_torn_line_is_counted_again(verifier: Verifier, tmp_path: Path) -> None:
    states = [state for state, _ in states_of(1)]
    count(PupilModel(PUPIL), verifier, states, KeptChances(tmp_path, {}))
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text(encoding="utf-8")[:-4], encoding="utf-8")
    kept = KeptChances(tmp_path, {})
    assert len(kept.chances) == len(states) - 1
    model = PupilModel(PUPIL)
    count(model, verifier, states, kept)
    assert len(model.asked) == 1
    assert len(KeptChances(tmp_path, {}).chances) == len(states)


def test_continuations_that_failed_have_no_say(verifier: Verifier) -> None:
    (state, _), *_ = states_of(1)
    (some,) = count(PupilModel(FAULTLESS, fails=0.5), verifier, [state])
    assert some.value == 1
    assert 100 < some.drawn < 300
    (none,) = count(PupilModel(FAULTLESS, fails=1.1), verifier, [state])
    assert (none.drawn, none.value != none.value) == (0, True)


def test_progress_is_told(verifier: Verifier) -> None:
    told: list[tuple[int, int]] = []
    states = [state for state, _ in states_of(4)]
    count_chances(PupilModel(PUPIL), verifier, states, Counting(2), tell=lambda done, of: told.append((done, of)))
    assert told[0] == (0, len(set(states)))
    assert told[-1] == (len(set(states)), len(set(states)))
