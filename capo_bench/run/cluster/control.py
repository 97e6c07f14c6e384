"""What the runner asks of jobs that run on other machines: to save and return, or to end now."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

Order = Literal["", "stop", "kill"]

HOLD_SECONDS = 5.0
"""How long a question stays open before it is asked again: nothing is left open for jobs that have ended."""


class Control:
    """An actor beside the runner. Jobs ask it for orders, and the answer comes when there is a new one."""

    def __init__(self) -> None:
        self._all: Order = ""
        self._one: dict[str, Order] = {}
        self._changed = asyncio.Event()

    async def give(self, order: Order, key: str | None = None) -> None:
        """Give an order to the job `key`, or to all, also those that ask later."""
        if key is None:
            self._all = order
            self._one = {name: "kill" for name, given in self._one.items() if given == "kill"}
        else:
            self._one[key] = order
        self._changed.set()
        self._changed = asyncio.Event()

    async def order(self, key: str, last: Order) -> Order:
        """Return the order of the job `key` once it is another than `known`, or `known` after a while."""
        if self._order(key) == last:
            with suppress(TimeoutError):
                async with asyncio.timeout(HOLD_SECONDS):
                    await self._changed.wait()
        return self._order(key)

    def _order(self, key: str) -> Order:
        return self._one.get(key, self._all)


class Orders:
    """A job's end of the `Control` actor: asks it again and again, never waits for the answer."""

    def __init__(self, control: Any, key: str) -> None:
        self._control, self._key = control, key
        self.last: Order = ""
        self._ask()

    def news(self) -> Order:
        """Return an order that was not known before; empty: none."""
        import ray

        if not ray.wait([self._answer], timeout=0)[0]:
            return ""
        before, self.last = self.last, ray.get(self._answer)
        self._ask()
        return self.last if self.last != before else ""

    def _ask(self) -> None:
        self._answer = self._control.order.remote(self._key, self.last)
