"""A bar with the time left, for commands that may take longer than one likes to wait without a word."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_SECONDS = 2.0


@contextmanager
def bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to be told how much is done of how much; a bar is shown once it has taken a while."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit},"), TimeRemainingColumn()
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    task, began = shown.add_task(""), time.monotonic()

    def tell(done: int, total: int) -> None:
        if not shown.live.is_started and time.monotonic() - began > QUIET_SECONDS:
            shown.start()
        shown.update(task, completed=done, total=total)

    try:
        yield tell
    finally:
        shown.stop()
