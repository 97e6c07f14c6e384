"""Progress: counts, abstentions and the time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from capo_bench.critic.ask import State
from capo_bench.critic.meter import headline, meter, preparing


@pytest.mark.parametrize(
    ("state", "seconds", "text"),
    [
        (State(0, 10, 0, 0), 5, "0/10 solutions"),
        (State(4, 10, 32, 0), 20, "4/10 solutions · about 30 s left"),
        (State(4, 10, 32, 3), 20, "4/10 solutions · 3 of 32 without a verdict · about 30 s left"),
        (State(10, 10, 80, 0), 50, "10/10 solutions"),
    ],
)
def test_words(state, seconds, text):
    assert headline(state, seconds) == text


def test_a_line_every_ten_seconds_where_there_is_no_terminal():
    out, now = io.StringIO(), iter([0.0, 4.0, 11.0, 11.0, 12.0])
    with meter(Console(file=out, width=40), "noisy", lambda: next(now)) as tell:
        for done in (1, 2, 3):
            tell(State(done, 4, done, 0))
    assert out.getvalue() == "2/4 solutions · about 11 s left\n"


def test_a_bar_on_a_terminal_leaves_nothing_behind():
    out = io.StringIO()
    with meter(Console(file=out, force_terminal=True, width=100), "[b]noisy") as tell:
        tell(State(1, 4, 8, 1))
    assert "[b]noisy" in out.getvalue()


def test_the_making_of_the_embedded_critic_is_told():
    out = io.StringIO()
    with preparing(Console(file=out, width=80)) as emit:
        emit({"kind": "stage", "stage": "embedded critic"})
        for step in (1, 2):
            emit({"kind": "preparing", "step": step, "of": 600, "model": "embedded critic", "metrics": {}})
    assert out.getvalue().splitlines() == ["embedded critic …", "embedded critic: step 1/600"]
