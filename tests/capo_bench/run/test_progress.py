import io

import pytest
from rich.console import Console

from capo_bench.run import progress as module
from capo_bench.run.board import Board
from capo_bench.run.progress import show_progress

STARTED = {"event": "trial_started", "trial": "a", "variant": "critic=[noisy]", "seed": 3, "log": "runs/a.log"}
STEP = {"event": "step", "trial": "a", "step": 3, "of": 50, "metrics": {"outcome": 0.5}}
FAILED = {**STARTED, "event": "trial_failed", "error": "ValueError: no [bold]reward[/bold]"}


@pytest.fixture
def plain():
    return Console(file=io.StringIO(), width=40)


def test_elsewhere_than_on_a_terminal_lines_are_plain_unwrapped_and_not_markup(plain):
    with show_progress(plain, Board({"a": "v", "b": "v"}), "demo") as show:
        for event in (STARTED, STEP, FAILED):
            show(event)
    assert plain.file.getvalue().splitlines() == [
        "started critic=[noisy] seed 3",
        "failed critic=[noisy] seed 3: ValueError: no [bold]reward[/bold] (log: runs/a.log)",
        "0/2 trials done · 1 failed",
    ]


def test_between_events_a_line_comes_now_and_then_with_every_running_trial(plain, monkeypatch):
    board = Board(to_do={STARTED["trial"]: "v", "other": "v"}, guesses={"v": 60.0})
    with show_progress(plain, board, "demo") as show:
        show(STARTED)
        show({**STEP, "event": "stage", "stage": "train"})
        show(STEP)
        assert len(plain.file.getvalue().splitlines()) == 1
        monkeypatch.setattr(module, "PLAIN_SECONDS", 0.0)
        show({"event": "tick"})
    last = plain.file.getvalue().splitlines()[-1]
    assert last.startswith("0/2 trials done · about ")
    assert last.endswith("; critic=[noisy] seed 3: train, step 3/50, outcome 0.50")


def test_on_a_terminal_there_is_a_row_a_running_trial_and_failures_stay_above():
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    with show_progress(console, Board({"a": "v", "b": "v"}), "demo") as show:
        show(STARTED)
        show(STEP)
        show({**STARTED, "trial": "b", "variant": "exact"})
        show({**FAILED, "trial": "b", "variant": "exact"})
    shown = console.file.getvalue()
    for words in ("demo", "0/2 trials done", "critic=[noisy]", "step 3/50, outcome 0.50", "failed exact seed 3"):
        assert words in shown


def test_a_retry_is_told_with_its_reason_and_controls_are_escaped(plain):
    with show_progress(plain, Board({"a": "v"}), "demo") as show:
        show(STARTED)
        show({**FAILED, "event": "trial_retried", "error": "Lost: \x1b[31m\x07", "cause": "lost", "delay": 5.0})
        show(STARTED)
        show({**STEP, "event": "stage", "stage": "generate", "task": "coins_test"})
        show({**STARTED, "event": "trial_done", "seconds": 3.0})
    lines = plain.file.getvalue().splitlines()
    assert lines[1] == r"failed critic=[noisy] seed 3: Lost: \x1b[31m\x07; retried in 5 s (log: runs/a.log)"
    assert "done critic=[noisy] seed 3 after 3 s" in lines
    assert "\x1b" not in plain.file.getvalue()


def test_a_stage_is_shown_with_its_task_and_a_later_try_as_such(plain, monkeypatch):
    monkeypatch.setattr(module, "PLAIN_SECONDS", 0.0)
    with show_progress(plain, Board({"a": "v"}), "demo") as show:
        show(STARTED)
        show({**FAILED, "event": "trial_retried", "cause": "lost", "delay": 0})
        show(STARTED)
        show(STEP)
        show({**STEP, "event": "stage", "stage": "generate", "task": "coins_test"})
    assert (
        plain.file.getvalue()
        .splitlines()[-1]
        .endswith("critic=[noisy] seed 3: generate coins_test, try 2, outcome 0.50")
    )
