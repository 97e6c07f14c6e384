"""The one meter: counts, words and the time left; a bar on a terminal, lines elsewhere, nothing for what ends soon."""

from __future__ import annotations

import io

from rich.console import Console

from capo_bench.critic.ask import AskProgress
from capo_bench.evaluation.watch import Watch
from capo_bench.run.meter import meter
from evals.harness.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_ends_soon_says_nothing():
    out, clock = io.StringIO(), Clock()
    with meter(Console(file=out, width=80), clock) as shown:
        for clock.now in (0.0, 1.0, 1.9):
            shown.tell("replaying", int(clock.now), 2)
    assert out.getvalue() == ""


def test_a_line_every_ten_seconds_and_at_the_end_where_there_is_no_terminal():
    out, clock = io.StringIO(), Clock()
    with meter(Console(file=out, width=80), clock) as shown:
        for clock.now, done in ((0.0, 0), (4.0, 1), (11.0, 2), (12.0, 3), (13.0, 4)):
            shown.tell("replaying", done, 4, "fast" if done else "")
    assert out.getvalue().splitlines() == ["replaying: 2/4 · fast · about 11 s left", "replaying: 4/4 · fast"]


def test_the_pace_is_that_of_this_title_and_of_this_run():
    out, clock = io.StringIO(), Clock()
    with meter(Console(file=out, width=80), clock) as shown:
        shown.tell("a", 0, 2)
        clock.now = 100.0
        shown.tell("b", 50, 100)  # fifty were there
        clock.now = 110.0
        shown.tell("b", 60, 100)
    assert out.getvalue().splitlines() == ["b: 50/100", "b: 60/100 · about 40 s left"]


def test_a_bar_on_a_terminal_leaves_nothing_behind():
    out, clock = io.StringIO(), Clock()
    with meter(Console(file=out, force_terminal=True, width=100), clock) as shown:
        clock.now = 3.0
        shown.tell("[b]noisy", 1, 4)
    assert "[b]noisy" in out.getvalue()


def test_stages_critics_and_models_in_the_making_are_told_on_one_meter():
    out, clock = io.StringIO(), Clock()
    with meter(Console(file=out, width=100), clock) as shown:
        told = Watch(shown, "noisy")
        clock.now = 5.0
        told.emit({"kind": "preparing", "step": 1, "of": 600, "model": "embedded critic", "metrics": {}})
        told.stage(Progress("generate", "math500", 64, 256, 64, 3, 6400, 4.0))
        told.critic(AskProgress(4, 10, 32, 3))
    assert out.getvalue().splitlines() == [
        "embedded critic: 1/600",
        "math500: generating: 64/256 · 1,600 tokens/s · 3 failed · about 12 s left",
        "noisy: 4/10 · 3 of 32 without a verdict",
    ]
