"""Orders of the runner to jobs on other machines: to save and return, or to end now."""

from __future__ import annotations

import time
from typing import Any, Literal

Order = Literal["", "stop", "kill"]

ASK_SECONDS = 0.5
"""Seconds between two requests of a job for its orders."""


class Control:
    """An actor on the runner's node that holds the orders; jobs request theirs regularly."""

    def __init__(self) -> None:
        self._all: Order = ""
        self._one: dict[str, Order] = {}

    def give(self, order: Order, key: str | None = None) -> None:
        """Give an order to the job `key`, or to all jobs including future ones."""
        if key is None:
            self._all = order
        else:
            self._one[key] = order

    def order(self, key: str) -> Order:
        """Return the order of the job `key`."""
        return "kill" if self._one.get(key) == "kill" else self._all


class Orders:
    """A job's connection to the `Control` actor, which never blocks on the answer."""

    def __init__(self, control: Any, key: str) -> None:
        self._control, self._key = control, key
        self._ask()

    def news(self) -> Order:
        """Return the order if an answer has come, else an empty string; an order is repeated with every answer."""
        import ray

        if time.monotonic() < self._due or not ray.wait([self._answer], timeout=0)[0]:
            return ""
        order: Order = ray.get(self._answer)
        self._ask()
        return order

    def _ask(self) -> None:
        self._answer = self._control.order.remote(self._key)
        self._due = time.monotonic() + ASK_SECONDS
