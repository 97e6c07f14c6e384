"""How far a measurement is, on a console: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from capo_bench.critic.ask import State
from capo_bench.run.board import duration
from capo_bench.run.progress import PLAIN_SECONDS, say
from trainers.methods import Emit

Clock = Callable[[], float]


@contextmanager
def meter(console: Console, name: str, clock: Clock = time.monotonic) -> Iterator[Callable[[State], None]]:
    """Show states while the context is open; yields the function to tell them to."""
    began = clock()
    if not console.is_terminal:
        last = began

        def plain(state: State) -> None:
            nonlocal last
            if clock() - last >= PLAIN_SECONDS:
                last = clock()
                say(console, headline(state, last - began))

        yield plain
        return
    columns = (TextColumn("{task.fields[name]}", markup=False), BarColumn(30), TextColumn("{task.fields[said]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", name=name, said="asking")
        yield lambda state: bar.update(
            task, completed=state.done, total=state.of, said=headline(state, clock() - began)
        )


def headline(state: State, seconds: float) -> str:
    """Return a state in words, with the time left if it goes on as in the `seconds` so far."""
    parts = [f"{state.done}/{state.of} solutions"]
    parts += [f"{state.abstained} of {state.critiques} without a verdict"] * bool(state.abstained)
    if 0 < state.done < state.of:
        parts.append(f"about {duration(seconds / state.done * (state.of - state.done))} left")
    return " · ".join(parts)


@contextmanager
def preparing(console: Console) -> Iterator[Emit]:
    """Tell of the embedded critic's training, every `PLAIN_SECONDS`; yields the function to feed with its events."""
    last = time.monotonic() - PLAIN_SECONDS

    def emit(event: dict[str, Any]) -> None:
        nonlocal last
        if event["kind"] == "stage":
            say(console, f"{event['stage']} …")
        elif time.monotonic() - last >= PLAIN_SECONDS:
            last = time.monotonic()
            say(console, f"{event.get('model', 'model')}: step {event['step']}/{event['of']}")

    yield emit
