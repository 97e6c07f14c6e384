"""Request critiques from a training step: in the background, and without failing the step."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from trainers.credit.critique import Critique
from trainers.critics.base import Critic, Solution

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answers:
    """k critiques of each solution of a batch, in order, and their start and end times by `time.perf_counter`."""

    critiques: list[list[Critique]]
    began: float
    ended: float


Asked = Future[Answers]


class CriticThread:
    """Runs a critic's coroutines on a separate thread, so that the caller is not blocked.

    Any exception of a critic becomes k abstentions per solution with the reason ``error``, and is logged: a failed
    critique is data. A critic that does not return exactly k critiques per solution has also failed.
    """

    def __init__(self, critic: Critic) -> None:
        self._critic = critic
        self.eager = critic.eager
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="critic", daemon=True)
        self._thread.start()

    def ask(self, solutions: Sequence[Solution], k: int, *, greedy: bool = False) -> Asked:
        """Start the critiques of a batch and return immediately."""
        return asyncio.run_coroutine_threadsafe(self._ask(solutions, k, greedy), self._loop)

    def close(self) -> None:
        """Cancel pending requests, close the critic and end the thread, even if the critic raises on closing."""
        try:
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _close(self) -> None:
        asked = asyncio.all_tasks() - {asyncio.current_task()}
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await self._critic.close()

    async def _ask(self, solutions: Sequence[Solution], k: int, greedy: bool) -> Answers:
        began = time.perf_counter()
        try:
            critiques = await self._critic.critique(solutions, k, greedy=greedy)
            _check_complete(critiques, len(solutions), k)
        except Exception as error:
            log.exception("the critic failed on a batch of %d solutions; all of them abstain", len(solutions))
            critiques = [[Critique(None, "error", f"{type(error).__name__}: {error}")] * k for _ in solutions]
        return Answers(critiques, began, time.perf_counter())


def _check_complete(critiques: Sequence[Sequence[Critique]], solutions: int, k: int) -> None:
    if [len(row) for row in critiques] != [k] * solutions:
        raise ValueError(f"the critic owes {k} critiques of each of {solutions} solutions")
