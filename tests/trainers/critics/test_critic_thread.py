from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from evals.benchmarks import Problem
from trainers.credit.critique import Critique
from trainers.critics.base import Solution, Surroundings
from trainers.critics.critic_thread import CriticThread
from trainers.critics.exact import ExactParams

PROBLEM = Problem("sums/test/0", "add", "0")
SOLUTIONS = [Solution(PROBLEM, ("1+2=3",)), Solution(PROBLEM, ("1+2=4", "gibberish"))]


class Scripted:
    """Answers with what `answer` returns, whatever it is, and remembers what it was asked."""

    eager = False

    def __init__(self, answer):
        self.answer, self.asked, self.closed, self.thread = answer, [], False, None

    async def critique(self, solutions, k, *, first=0, greedy=False):
        self.asked.append((len(solutions), k, greedy))
        self.thread = threading.current_thread()
        result = self.answer(solutions, k)
        return await result if asyncio.iscoroutine(result) else result

    async def close(self):
        self.closed = True


def raises(solutions, k):
    raise RuntimeError("the critic is down")


@pytest.fixture
def ask():
    """Ask a scripted critic one batch, in a thread that is ended again."""
    critic_threads = []

    def asked(answer, k=2, solutions=SOLUTIONS):
        critic_threads.append(CriticThread(Scripted(answer)))
        return critic_threads[-1].ask(solutions, k).result(timeout=10).critiques

    yield asked
    for critic_thread in critic_threads:
        critic_thread.close()


def test_the_answers_are_the_critics(sums):
    critic_thread = CriticThread(ExactParams().build(Surroundings(sums, 0)))
    answers = critic_thread.ask(SOLUTIONS, 2).result(timeout=10)
    critic_thread.close()
    assert answers.critiques == [[Critique(frozenset())] * 2, [Critique(frozenset({0, 1}))] * 2]
    assert answers.ended >= answers.began


def test_what_is_asked_reaches_the_critic():
    critic = Scripted(lambda solutions, k: [[Critique(frozenset())] * k for _ in solutions])
    critic_thread = CriticThread(critic)
    critic_thread.ask(SOLUTIONS, 1, greedy=True).result(timeout=10)
    critic_thread.ask([], 3).result(timeout=10)
    critic_thread.close()
    assert critic.asked == [(2, 1, True), (0, 3, False)]


def test_a_critic_that_raises_abstains_k_times_on_every_solution(ask, caplog):
    assert ask(raises, k=3) == [[Critique(None, "error", "RuntimeError: the critic is down")] * 3] * 2
    assert "all of them abstain" in caplog.text
    assert "the critic is down" in caplog.text


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("a solution too few", lambda s, k: [[Critique(frozenset())] * k]),
        ("a solution too many", lambda s, k: [[Critique(frozenset())] * k] * 3),
        ("a critique too few", lambda s, k: [[Critique(frozenset())] * k, [Critique(frozenset())] * (k - 1)]),
        ("a critique too many", lambda s, k: [[Critique(frozenset())] * (k + 1)] * 2),
        ("nothing", lambda s, k: []),
        ("no list", lambda s, k: None),
    ],
)
def test_a_critic_that_owes_critiques_has_failed(ask, what, answer):
    assert [[critique.abstained for critique in row] for row in ask(answer)] == [["error"] * 2] * 2, what


def test_a_failure_leaves_the_next_batch_alone():
    critic = Scripted(raises)
    critic_thread = CriticThread(critic)
    failed = critic_thread.ask(SOLUTIONS, 1).result(timeout=10)
    critic.answer = lambda solutions, k: [[Critique(frozenset({0}))] * k for _ in solutions]
    fine = critic_thread.ask(SOLUTIONS, 1).result(timeout=10)
    critic_thread.close()
    assert [row[0].abstained for row in failed.critiques] == ["error"] * 2
    assert fine.critiques == [[Critique(frozenset({0}))]] * 2


def test_the_caller_goes_on_meanwhile():
    may_answer = threading.Event()

    async def wait(solutions, k):
        await asyncio.to_thread(may_answer.wait, 10)
        return [[Critique(frozenset())] * k for _ in solutions]

    critic = Scripted(wait)
    critic_thread = CriticThread(critic)
    asked = critic_thread.ask(SOLUTIONS, 1)
    assert not asked.done()  # it cannot be: it waits for what only this thread gives
    may_answer.set()
    assert asked.result(timeout=10).critiques == [[Critique(frozenset())]] * 2
    assert critic.thread is not threading.current_thread()
    critic_thread.close()


def test_closing_closes_the_critic_and_ends_the_thread():
    critic = Scripted(lambda s, k: [[]])
    critic_thread = CriticThread(critic)
    thread = critic_thread._thread
    assert thread.is_alive()
    critic_thread.close()
    assert critic.closed
    assert not thread.is_alive()


def test_closing_cancels_what_is_still_asked():
    critic_thread = CriticThread(Scripted(lambda s, k: asyncio.sleep(3600)))
    asked = critic_thread.ask(SOLUTIONS, 1)
    critic_thread.close()
    with pytest.raises(CancelledError):
        asked.result(timeout=10)


def test_a_critic_that_cannot_be_closed_says_so_and_leaves_no_thread():
    critic = Scripted(lambda s, k: [[]])

    async def close():
        raise OSError("connection lost")

    critic.close = close
    critic_thread = CriticThread(critic)
    with pytest.raises(OSError, match="connection lost"):
        critic_thread.close()
    assert not critic_thread._thread.is_alive()
