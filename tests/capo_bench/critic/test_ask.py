"""Asking: everything is asked once, in batches or one by one, and too many abstentions end it."""

from __future__ import annotations

import pytest
from controlcritics import control, mute, oracle

from capo_bench.critic.ask import AT_ONCE, BATCH, ENOUGH, AskProgress, CritiqueTerms, Round, TooManyAbstainedError
from evals.coins import COINS as BENCHMARK
from evals.critics.coins import COINS
from evals.critics.data import Selection
from trainers.credit.critique import Critique
from trainers.critics.base import Solution, Surroundings

SOLUTIONS = COINS.load(Selection(limit=100)).solutions
ASKED = [Solution(solution.problem, solution.steps) for solution in SOLUTIONS]


def asked(answer, terms, *, eager=False, told=None):
    critic = control(answer, SOLUTIONS, eager=eager).build(Surroundings(BENCHMARK, 0))
    result = Round(critic, ASKED, terms, (told if told is not None else []).append).run()
    return result, critic


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("greedy", [False, True])
def test_every_solution_has_its_critiques_in_order(eager, greedy):
    told: list[AskProgress] = []
    result, critic = asked(oracle, CritiqueTerms(3, greedy), eager=eager, told=told)
    wrong = [solution.labels.wrong for solution in SOLUTIONS]
    assert [[critique.wrong for critique in row] for row in result.sampled] == [[flags] * 3 for flags in wrong]
    assert [[critique.wrong for critique in row] for row in result.greedy] == [[flags] * greedy for flags in wrong]
    assert told[-1] == AskProgress(100, 100, 300 + 100 * greedy, 0)
    assert max(critic.calls) == (1 if eager else BATCH)
    assert result.seconds > 0


def test_an_eager_critic_is_asked_for_many_at_once():
    """All of the first questions are under way before any is answered."""
    import asyncio

    gate = asyncio.Event()
    critic = control(oracle, SOLUTIONS, eager=True).build(Surroundings(BENCHMARK, 0))
    answer, started = critic.critique, []

    async def slow(solutions, k, **options):
        started.append(solutions)
        if len(started) == AT_ONCE:
            gate.set()
        await gate.wait()
        return await answer(solutions, k, **options)

    critic.critique = slow
    assert len(Round(critic, ASKED, CritiqueTerms(1, greedy=False), lambda state: None).run().sampled) == 100


def test_a_mute_critic_is_stopped_early():
    told: list[AskProgress] = []
    with pytest.raises(TooManyAbstainedError) as stopped:
        asked(mute, CritiqueTerms(8), told=told)
    assert str(stopped.value) == (
        "256 of 256 critiques have no verdict (truncated 256): more than --max-abstained 0.5 allows; "
        "correct the critic's settings, or allow more"
    )
    assert told[-1].done < 100


def test_few_critiques_say_nothing_yet_but_at_the_end():
    def first_mute(solution, index):
        return mute(solution, index) if solution in SOLUTIONS[:20] else oracle(solution, index)

    assert BATCH < ENOUGH
    result, _ = asked(first_mute, CritiqueTerms(1, greedy=False))
    assert sum(critique.wrong is None for (critique,) in result.sampled) == 20
    few = control(mute, SOLUTIONS).build(Surroundings(BENCHMARK, 0))
    told: list[AskProgress] = []
    with pytest.raises(TooManyAbstainedError, match="10 of 10 critiques"):
        Round(few, ASKED[:10], CritiqueTerms(1, greedy=False), told.append).run()
    assert told[-1].done == 10


def test_everything_may_abstain_where_that_is_allowed():
    result, _ = asked(mute, CritiqueTerms(2, max_abstained=1))
    assert {critique.abstained for row in result.sampled for critique in row} == {"truncated"}


def test_a_critic_that_raises_has_abstained(caplog):
    def broken(solution, index):
        raise OSError("gone")

    with pytest.raises(TooManyAbstainedError, match="error 64"):
        asked(broken, CritiqueTerms(2, greedy=False))
    assert "gone" in caplog.text


def test_solutions_without_a_step_are_no_trouble():
    critic = control(lambda solution, index: Critique(frozenset()), []).build(Surroundings(BENCHMARK, 0))
    assert Round(critic, [], CritiqueTerms(2), lambda state: None).run().sampled == []
