from __future__ import annotations

import pytest

from evals.models.chat import Breaker


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(failures=3, cool_down=10, clock=clock)


def fail(breaker, times):
    return [breaker.failed() for _ in range(times)]


def test_it_opens_at_the_failures_given_and_says_so_once(breaker):
    assert fail(breaker, 2) == [False, False]
    assert breaker.passes()
    assert fail(breaker, 2) == [True, False]
    assert not breaker.passes()


def test_only_failures_in_a_row_count(breaker):
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.passes()


def test_after_the_cool_down_one_call_tries(breaker, clock):
    fail(breaker, 3)
    clock.now += 9.9
    assert not breaker.passes()
    clock.now += 0.1
    assert [breaker.passes() for _ in range(3)] == [True, False, False]


def test_the_trys_success_lets_all_through(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    assert breaker.passes()
    breaker.succeeded()
    assert [breaker.passes() for _ in range(3)] == [True] * 3


def test_the_trys_failure_shuts_it_for_another_cool_down(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    assert breaker.passes()
    clock.now += 5
    assert not breaker.failed()
    clock.now += 9.9
    assert not breaker.passes()
    clock.now += 0.1
    assert breaker.passes()


def test_a_try_that_is_never_heard_of_again_does_not_shut_it_for_good(breaker, clock):
    fail(breaker, 3)
    clock.now += 10
    assert breaker.passes()
    clock.now += 10
    assert breaker.passes()
