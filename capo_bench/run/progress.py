"""Show the progress of a run on a console: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from capo_bench.inert import for_terminal
from capo_bench.process.interrupt import redirect_closed_streams
from capo_bench.run.board import Board, Running, describe_position, format_duration
from capo_bench.run.runner import Observer
from capo_bench.store.ledger import Record

PLAIN_SECONDS = 10.0


class Display(Console):
    """A console whose output is optional: a closed pipe does not end the run."""

    def on_broken_pipe(self) -> None:
        """Ignore the closed pipe; rich would end the process."""


@contextmanager
def show_progress(console: Console, board: Board, name: str) -> Iterator[Observer]:
    """Show `board` while the context is open; yields the observer of the run's events."""
    if not console.is_terminal:
        yield _Plain(console, board).on
        return

    def table() -> RenderableType:
        redirect_closed_streams()  # under nohup, a run continues after its terminal is closed
        return _build_table(board, name)

    with Live(console=console, get_renderable=table, refresh_per_second=4, transient=True):

        def on(event: Record) -> None:
            _say_event(console, event)
            board.on(event)

        yield on


def say(console: Console, text: str, style: str = "") -> None:
    """Print one line literally: without markup, wrapping or control characters.

    Paths and commands in it can be copied.
    """
    console.print(Text(for_terminal(text), style=style), soft_wrap=True)


class _Plain:
    """Prints a line when a trial starts or ends, and otherwise one every `PLAIN_SECONDS`."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console, self._board = console, board
        self._last = time.monotonic()

    def on(self, event: Record) -> None:
        self._board.on(event)
        kind = event["event"]
        _say_event(self._console, event)
        if kind == "trial_started":
            say(self._console, f"started {_name(event)}")
        elif kind in ("trial_done", "trial_failed", "trial_stopped") or time.monotonic() - self._last >= PLAIN_SECONDS:
            self._print_line()

    def _print_line(self) -> None:
        self._last = time.monotonic()
        trials = [
            f"{trial.variant} seed {trial.seed}: {_describe(trial, self._board)}"
            for trial in self._board.running.values()
        ]
        say(self._console, "; ".join([self._board.headline(), *trials]))


def _say_event(console: Console, event: Record) -> None:
    kind = event["event"]
    if kind == "trial_failed":
        say(console, f"failed {_name(event)}: {event['error']} (log: {event['log']})", "red")
    elif kind == "trial_retried":
        again = f"retried in {format_duration(event.get('delay') or 0)}"
        say(console, f"failed {_name(event)}: {event['error']}; {again} (log: {event.get('log', '')})", "yellow")
    elif kind == "critic_server":
        for line in event["news"].splitlines():
            say(console, line, {"lost": "red"}.get(event["state"], ""))
    elif kind in ("trial_done", "trial_stopped"):
        say(console, f"{kind.removeprefix('trial_')} {_name(event)} after {format_duration(event['seconds'])}")
    elif kind == "stopping":
        say(console, "stopping: running trials finish their step and save; Ctrl-C again ends them at once", "yellow")


def _name(event: Record) -> str:
    return f"{event['variant']} seed {event['seed']}"


def _describe(trial: Running, board: Board) -> str:
    return describe_position(trial.as_json(board.clock()))


def _build_table(board: Board, name: str) -> RenderableType:
    share = sum(trial.share for trial in board.running.values())
    bar = ProgressBar(total=board.planned, completed=board.had + board.done + board.failed + share, width=30)
    grid = Table.grid(padding=(0, 1))
    head = Table.grid(padding=(0, 1))
    head.add_row(Text(name, style="bold"), bar, Text(board.headline()))
    for trial in board.running.values():
        who = Text(f"  {for_terminal(trial.variant)}")
        grid.add_row(who, Text(f"seed {trial.seed}"), Text(for_terminal(_describe(trial, board)), style="dim"))
    whole = Table.grid()
    whole.add_row(head)
    whole.add_row(grid)
    return whole
