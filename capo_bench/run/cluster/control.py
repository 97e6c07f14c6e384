"""Orders of the runner to jobs on other machines: to save and return, or to end now."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

Order = Literal["", "stop", "kill"]

HOLD_SECONDS = 5.0
"""Maximum seconds that a request for orders stays open, so that none stays open for a job that has ended."""


class Control:
    """An actor on the runner's node. Jobs request orders from it, and it answers when there is a new order."""

    def __init__(self) -> None:
        self._all: Order = ""
        self._one: dict[str, Order] = {}
        self._changed = asyncio.Event()

    async def give(self, order: Order, key: str | None = None) -> None:
        """Give an order to the job `key`, or to all jobs including future ones."""
        if key is None:
            self._all = order
            self._one = {name: "kill" for name, given in self._one.items() if given == "kill"}
        else:
            self._one[key] = order
        self._changed.set()
        self._changed = asyncio.Event()

    async def order(self, key: str, last: Order) -> Order:
        """Return the order of the job `key` when it differs from `last`, or after `HOLD_SECONDS` in any case."""
        if self._get_order(key) == last:
            with suppress(TimeoutError):
                async with asyncio.timeout(HOLD_SECONDS):
                    await self._changed.wait()
        return self._get_order(key)

    def _get_order(self, key: str) -> Order:
        return self._one.get(key, self._all)


class Orders:
    """A job's connection to the `Control` actor: it always has one open request and never blocks on the answer."""

    def __init__(self, control: Any, key: str) -> None:
        self._control, self._key = control, key
        self.last: Order = ""
        self._ask()

    def news(self) -> Order:
        """Return a new order, or an empty string if there is none."""
        import ray

        if not ray.wait([self._answer], timeout=0)[0]:
            return ""
        before, self.last = self.last, ray.get(self._answer)
        self._ask()
        return self.last if self.last != before else ""

    def _ask(self) -> None:
        self._answer = self._control.order.remote(self._key, self.last)
