"""The cached critic says what the critic behind it says, and asks it as little as it can."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.benchmarks import Problem
from evals.models.base import Usage
from trainers.credit.critique import Critique
from trainers.critics.base import Solution
from trainers.critics.cached import CachedCritic
from trainers.critics.store import CritiqueStore

IDENTITY = {"name": "scripted", "seed": 0}


def solution(*steps, problem="add", answer="3", name="sums/0", aim="steps"):
    return Solution(Problem(name, problem, answer), steps or ("1+2=3",), aim)


ONE, TWO = solution("1+2=3"), solution("1+2=4", "so 4")


def says(asked, number, greedy=False):
    """What the scripted critic says: a function of solution, index and greed alone."""
    words = repr((asked.problem.prompt, asked.problem.answer, asked.steps, asked.aim, number, greedy))
    drawn = hashlib.sha256(words.encode()).digest()
    usage = Usage(prompt_tokens=drawn[0], output_tokens=drawn[1], seconds=drawn[2] / 256)
    if drawn[3] < 40:
        return Critique(None, "no_list", words, usage)
    return Critique(frozenset(step for step in range(asked.verdicts) if drawn[4 + step % 20] % 2), None, words, usage)


class Scripted:
    """A critic that remembers what it was asked; `before` is awaited before it answers."""

    eager = True

    def __init__(self, before=None, answer=says):
        self.calls, self.closed = [], False
        self.asked = Counter()
        self._before, self._answer = before, answer

    async def critique(self, solutions, k, *, first=0, greedy=False):
        self.calls.append((list(solutions), k, first, greedy))
        for one in solutions:
            words = (one.problem.prompt, one.problem.answer, one.steps, one.aim, greedy)
            self.asked.update((words, number) for number in range(first, first + k))
        if self._before:
            await self._before()
        return [[self._answer(one, number, greedy) for number in range(first, first + k)] for one in solutions]

    async def close(self):
        self.closed = True


@pytest.fixture
def store(tmp_path):
    opened = CritiqueStore(tmp_path / "critiques.sqlite")
    yield opened
    opened.close()


def ask(critic, solutions, k, **how):
    return asyncio.run(critic.critique(solutions, k, **how))


def reused(rows):
    return [[critique.reused for critique in row] for row in rows]


def test_what_was_said_is_not_asked_again(store):
    inner = Scripted()
    first = ask(CachedCritic(inner, IDENTITY, store), [ONE, TWO], 2)
    again = ask(CachedCritic(inner, IDENTITY, store), [TWO, ONE], 2)
    assert inner.calls == [([ONE, TWO], 2, 0, False)]
    assert again == first[::-1] == [[says(TWO, 0), says(TWO, 1)], [says(ONE, 0), says(ONE, 1)]]
    assert reused(first) == [[False] * 2] * 2
    assert reused(again) == [[True] * 2] * 2


def test_what_was_not_asked_for_has_the_usage_that_it_once_cost(store):
    critic = CachedCritic(Scripted(), IDENTITY, store)
    first, again = ask(critic, [ONE, ONE], 1), ask(critic, [ONE], 1)
    assert first[0][0].usage == first[1][0].usage == again[0][0].usage == says(ONE, 0).usage


def test_only_the_missing_critiques_are_asked_for(store):
    inner = Scripted()
    critic = CachedCritic(inner, IDENTITY, store)
    ask(critic, [ONE], 2)
    rows = ask(critic, [ONE, TWO], 4)
    assert inner.calls[1:] == [([ONE], 2, 2, False), ([TWO], 4, 0, False)]
    assert reused(rows) == [[True, True, False, False], [False] * 4]


def test_missing_critiques_on_both_sides_of_a_kept_one_are_two_asks(store):
    inner = Scripted()
    critic = CachedCritic(inner, IDENTITY, store)
    ask(critic, [ONE], 1, first=1)
    assert ask(critic, [ONE], 4) == [[says(ONE, number) for number in range(4)]]
    assert inner.calls[1:] == [([ONE], 1, 0, False), ([ONE], 2, 2, False)]


@pytest.mark.parametrize("kept", [True, False])
def test_a_solution_that_is_twice_in_a_batch_is_asked_once(store, kept):
    inner = Scripted()
    rows = ask(CachedCritic(inner, IDENTITY, store if kept else None), [ONE, TWO, ONE], 2)
    assert inner.calls == [([ONE, TWO], 2, 0, False)]
    assert rows[0] == rows[2]
    assert reused(rows) == [[False] * 2, [False] * 2, [True] * 2]


def test_the_name_of_a_problem_is_no_part_of_it(store):
    inner = Scripted()
    ask(CachedCritic(inner, IDENTITY, store), [solution(name="sums/0"), solution(name="sums/1")], 1)
    assert len(inner.calls[0][0]) == 1


@pytest.mark.parametrize(
    ("what", "other"),
    [
        ("the problem", solution(problem="subtract")),
        ("the reference answer", solution(answer="4")),
        ("the steps", solution("1+2=3", "")),
        ("where the steps are cut", solution("1+2", "=3")),
        ("the aim", solution(aim="answer")),
    ],
)
def test_a_solution_is_another_by(store, what, other):
    critic = CachedCritic(Scripted(), IDENTITY, store)
    ask(critic, [ONE], 1)
    assert reused(ask(critic, [other], 1)) == [[False]], what


def test_a_greedy_critique_is_another(store):
    critic = CachedCritic(Scripted(), IDENTITY, store)
    ask(critic, [ONE], 1)
    assert reused(ask(critic, [ONE], 1, greedy=True)) == [[False]]
    assert reused(ask(critic, [ONE], 1, greedy=True)) == [[True]]


def test_a_critic_of_another_identity_is_asked_itself(store):
    ask(CachedCritic(Scripted(), IDENTITY, store), [ONE], 1)
    other = Scripted()
    ask(CachedCritic(other, {**IDENTITY, "seed": 1}, store), [ONE], 1)
    same = Scripted()
    ask(CachedCritic(same, dict(reversed(IDENTITY.items())), store), [ONE], 1)
    assert (len(other.calls), len(same.calls)) == (1, 0)


@pytest.mark.parametrize("passing", ["timeout", "error"])
def test_a_failure_of_the_connection_is_not_kept(store, passing):
    failing = Scripted(answer=lambda one, number, greedy: Critique(None, passing if number == 1 else "truncated"))
    assert [one.abstained for one in ask(CachedCritic(failing, IDENTITY, store), [ONE], 3)[0]] == [
        *("truncated", passing, "truncated")
    ]
    inner = Scripted()
    rows = ask(CachedCritic(inner, IDENTITY, store), [ONE], 3)
    assert inner.calls == [([ONE], 1, 1, False)]
    assert rows == [[Critique(None, "truncated"), says(ONE, 1), Critique(None, "truncated")]]


def test_what_is_being_asked_is_waited_for():
    async def both():
        gate = asyncio.Event()
        inner = Scripted(before=gate.wait)
        critic = CachedCritic(inner, IDENTITY, None)
        calls = [asyncio.create_task(critic.critique([ONE], 2)), asyncio.create_task(critic.critique([ONE, TWO], 3))]
        await asyncio.sleep(0)
        gate.set()
        return inner, await asyncio.gather(*calls)

    inner, (first, second) = asyncio.run(both())
    assert max(inner.asked.values()) == 1
    assert second[0][:2] == first[0]
    assert reused(second) == [[True, True, False], [False] * 3]


def test_a_caller_that_is_cancelled_leaves_the_ask_to_those_who_wait():
    async def run():
        gate = asyncio.Event()
        inner = Scripted(before=gate.wait)
        critic = CachedCritic(inner, IDENTITY, None)
        owner = asyncio.create_task(critic.critique([ONE], 1))
        waiting = [asyncio.create_task(critic.critique([ONE], 1)) for _ in range(3)]
        while not inner.calls:
            await asyncio.sleep(0)
        owner.cancel()
        gate.set()
        return inner, await asyncio.gather(*waiting, owner, return_exceptions=True)

    inner, (*rows, cancelled) = asyncio.run(run())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert rows == [[[says(ONE, 0)]]] * 3
    assert len(inner.calls) == 2  # the cancelled one, and one for the three


def test_one_who_waits_and_is_cancelled_disturbs_nobody():
    async def run():
        gate = asyncio.Event()
        inner = Scripted(before=gate.wait)
        critic = CachedCritic(inner, IDENTITY, None)
        owner = asyncio.create_task(critic.critique([ONE], 1))
        waiting = asyncio.create_task(critic.critique([ONE], 1))
        while not inner.calls:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        gate.set()
        return inner, await owner

    inner, rows = asyncio.run(run())
    assert rows == [[says(ONE, 0)]]
    assert len(inner.calls) == 1


def test_an_ask_that_fails_fails_for_its_caller_alone():
    failures = [RuntimeError("the server is down")]

    async def fail_once():
        await asyncio.sleep(0)
        if failures:
            raise failures.pop()

    async def run():
        critic = CachedCritic(Scripted(before=fail_once), IDENTITY, None)
        calls = (critic.critique([ONE], 1) for _ in range(3))
        return await asyncio.gather(*calls, return_exceptions=True)

    failed, *rows = asyncio.run(run())
    assert str(failed) == "the server is down"
    assert rows == [[[says(ONE, 0)]]] * 2


def test_what_was_answered_beside_a_failure_is_kept(store):
    ask(CachedCritic(Scripted(), IDENTITY, store), [ONE], 1)
    parts = []

    async def fail_the_first():
        parts.append(None)
        if len(parts) == 1:
            raise RuntimeError("the server is down")

    with pytest.raises(RuntimeError, match="down"):
        ask(CachedCritic(Scripted(before=fail_the_first), IDENTITY, store), [ONE, TWO], 2)
    inner = Scripted()
    ask(CachedCritic(inner, IDENTITY, store), [ONE, TWO], 2)
    assert inner.calls == [([ONE], 1, 1, False)]


@pytest.mark.parametrize("rows", [[], [[]], [[says(ONE, 0)] * 2], [[says(ONE, 0)]] * 2])
def test_a_critic_that_owes_critiques_has_failed(store, rows):
    inner = Scripted()
    inner.critique = lambda *arguments, **how: asyncio.sleep(0, rows)
    with pytest.raises(ValueError, match="zip"):
        ask(CachedCritic(inner, IDENTITY, store), [ONE], 1)
    assert reused(ask(CachedCritic(Scripted(), IDENTITY, store), [ONE], 1)) == [[False]]


def test_nothing_asked_is_nothing_answered(store):
    inner = Scripted()
    assert ask(CachedCritic(inner, IDENTITY, store), [], 3) == []
    assert inner.calls == []


def test_half_a_surrogate_pair_is_text_as_any_other(store):
    odd = solution("1+2=\ud800")
    critic = CachedCritic(Scripted(answer=lambda *_: Critique(frozenset({0}), None, "\udfff")), IDENTITY, store)
    assert ask(critic, [odd], 1) == ask(critic, [odd], 1) == [[Critique(frozenset({0}), None, "\udfff")]]


def test_closing_closes_both(store):
    inner = Scripted()
    critic = CachedCritic(inner, IDENTITY, store)
    ask(critic, [ONE], 1)
    asyncio.run(critic.close())
    assert inner.closed
    assert store.read([critic.key(ONE, False)], range(1)) == {}


def test_it_is_asked_as_the_critic_behind_it_is():
    assert CachedCritic(Scripted(), IDENTITY, None).eager is True


SOLUTIONS = st.builds(
    lambda steps, problem, name, aim: solution(*steps, problem=problem, name=name, aim=aim),
    st.lists(st.sampled_from(["1+2=3", "1+2=4", ""]), min_size=1, max_size=2),
    *map(st.sampled_from, (["add", "subtract"], ["sums/0", "sums/1"], ["steps", "answer"])),
)
ASKS = st.tuples(st.lists(SOLUTIONS, max_size=4), st.integers(0, 4), st.integers(0, 4), st.booleans())


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(st.lists(ASKS, min_size=1, max_size=3), max_size=4))
def test_it_says_what_the_critic_says_and_asks_for_no_critique_twice(batches):
    """Asks of one batch at the same time, batches one after another, each by a critic opened anew on one store."""
    inner = Scripted(before=lambda: asyncio.sleep(0))

    async def together(batch, store):
        critic = CachedCritic(inner, IDENTITY, store)
        return await asyncio.gather(
            *(critic.critique(solutions, k, first=first, greedy=greedy) for solutions, k, first, greedy in batch)
        )

    with tempfile.TemporaryDirectory() as folder:
        for batch in batches:
            store = CritiqueStore(Path(folder) / "critiques.sqlite")
            answered = asyncio.run(together(batch, store))
            store.close()
            for (solutions, k, first, greedy), rows in zip(batch, answered, strict=True):
                expected = [[says(one, number, greedy) for number in range(first, first + k)] for one in solutions]
                assert rows == expected
    assert max(inner.asked.values(), default=0) <= 1


def test_whether_it_was_reused_is_no_part_of_what_a_critique_says():
    assert replace(says(ONE, 0), reused=True) == says(ONE, 0)
