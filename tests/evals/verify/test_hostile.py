"""Hostile answers: within their deadline, within their memory, and of no effect on any other answer."""

import threading
import time
from collections.abc import Iterator

import pytest
from hostile import HOSTILE

from evals.verify import Form, Verifier
from evals.verify.pool import Pool
from evals.verify.process import WALL, WorkerProcess

DEADLINE = 2.0
MEMORY_MB = 512


def clean(number: int) -> list[tuple[str, str]]:
    """Return a right and a wrong answer that need a parser, others for each number."""
    return [(rf"\boxed{{x(x+{number})}}", f"x^2+{number}x"), (rf"\boxed{{x+{number}}}", f"x^2+{number}x")]


@pytest.fixture(scope="module")
def verifier() -> Iterator[Verifier]:
    with Verifier(workers=2, deadline_s=DEADLINE, memory_mb=MEMORY_MB) as made:
        yield made


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60


def test_a_batch_with_all_of_them_gives_the_others_what_they_get_without(verifier: Verifier) -> None:
    batch = [
        pair
        for number, answer in enumerate(HOSTILE.values(), 2)
        for pair in (*clean(number), (rf"\boxed{{{answer}}}", "5"))
    ]
    peaks: list[int] = []
    with watched(verifier.pool, peaks):
        verdicts = verifier.verify(batch)
    assert max(peaks) < (MEMORY_MB + 64) * 2**20  # killed at the limit; between two looks it can grow a little
    assert [verdict.status for verdict in verdicts[0::3]] == ["right"] * len(HOSTILE)
    assert [verdict.status for verdict in verdicts[1::3]] == ["wrong"] * len(HOSTILE)
    hostile = dict(zip(HOSTILE, verdicts[2::3], strict=True))
    assert [name for name, verdict in hostile.items() if verdict.correct] == []
    assert [name for name, verdict in hostile.items() if verdict.seconds > WALL * DEADLINE + 1.0] == []
    assert sum(verdict.correct is None for verdict in hostile.values()) < len(HOSTILE) // 4  # most are refused by rule


def test_the_pool_is_usable_afterwards(verifier: Verifier) -> None:
    assert [verdict.status for verdict in verifier.verify(clean(1))] == ["right", "wrong"]


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_choice_of_a_hostile_answer_is_wrong_without_a_worker(name: str) -> None:
    forms = [Form("choice", options=("one", "two", "three")), Form("choice")]
    with Verifier() as verifier:
        verdicts = verifier.verify([(rf"The answer is \boxed{{{HOSTILE[name]}}}", "B")] * 2, forms)
        assert [verdict.correct for verdict in verdicts] == [False, False]
        assert verifier.pool.pids() == []


def test_hostile_references_hurt_nobody_either() -> None:
    answers = list(HOSTILE.values())[::9]
    with Verifier(workers=2, deadline_s=DEADLINE, memory_mb=MEMORY_MB) as verifier:
        verdicts = verifier.verify([(r"\boxed{x+y}", answer) for answer in answers])
        assert not any(verdict.correct for verdict in verdicts)


class watched:  # noqa: N801 - reads as a verb at its use
    """Samples the resident memory of a pool's workers while the block runs."""

    def __init__(self, pool: Pool, peaks: list[int]) -> None:
        self._pool, self._peaks, self._done = pool, peaks, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.is_set():
            workers: list[WorkerProcess] = list(self._pool._workers)
            self._peaks += [worker.resident_bytes() for worker in workers]
            time.sleep(0.01)
