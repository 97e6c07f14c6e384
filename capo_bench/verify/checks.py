"""What was compared, what differs, and what could not be compared and why. Nothing passes in silence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from capo_bench.store.walk import ABSENT
from evals.harness.identity import EvaluationError

Name = Literal[
    "files", "plan", "identities", "problems", "samples", "results", "rollouts", "critiques", "steps", "credit",
    "metrics", "costs", "report",
]  # fmt: skip

TITLES: dict[Name, str] = {
    "files": "files against their checksums",
    "plan": "study, plan and ledger",
    "identities": "ids, settings and seeds",
    "problems": "problems drawn again",
    "samples": "samples scored again",
    "results": "results from samples",
    "rollouts": "training's rollouts verified and checked again",
    "critiques": "verdicts read again from critiques' texts",
    "steps": "step records from rollouts",
    "credit": "token rewards, penalties and advantages from critiques",
    "metrics": "metrics.json from results",
    "costs": "costs from step records and results",
    "report": "the report's files written again",
}

CLOSE = 1e-9
"""Relative difference up to which numbers that a library adds up in an order of its own are the same."""

DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, RecursionError,
    MemoryError, EvaluationError,
)  # fmt: skip
"""What reading a file that somebody else made may end in."""


@dataclass(frozen=True)
class Mismatch:
    """Two values that should be one.

    Attributes:
        where: File, with line or cell.
        said: What stands there.
        found: What was derived.
    """

    where: str
    said: str
    found: str


@dataclass
class Check:
    """One kind of comparison.

    Attributes:
        compared: Values compared.
        mismatches: Those that differ.
        unchecked: Why values could not be compared here, and how many: they are not verified.
        measured: What nobody but the run itself could know, such as seconds, and how many.
    """

    compared: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    measured: Counter[str] = field(default_factory=Counter)

    def equal(self, where: str, said: object, found: object, *, close: bool = False) -> bool:
        """Compare a value with the derived one; `close`: numbers may differ by `CLOSE`."""
        self.compared += 1
        same = _same(said, found) or (close and _near(said, found))
        if not same:
            self.differs(where, said, found, counted=True)
        return same

    def differs(self, where: str, said: object, found: object, *, counted: bool = False) -> None:
        """Note a difference."""
        self.compared += not counted
        self.mismatches.append(Mismatch(_shown(where), _shown(said), _shown(found)))

    def leave(self, reason: str, count: int = 1) -> None:
        """Note values that cannot be compared here: they count as not verified."""
        if count:
            self.unchecked[_shown(reason)] += count

    def take(self, what: str, count: int = 1) -> None:
        """Note values that only the run itself could measure, and that are taken as they stand."""
        self.measured[_shown(what)] += count

    def fields(self, where: str, said: Mapping[str, Any], found: Mapping[str, Any], *, close: bool = False) -> None:
        """Compare two records, field by field; one that only one of them has differs."""
        for name in dict.fromkeys([*said, *found]):
            self.equal(f"{where} {name}", said.get(name, ABSENT), found.get(name, ABSENT), close=close)

    @contextmanager
    def reading(self, where: str) -> Iterator[None]:
        """Within it, a file that cannot be read or makes no sense is a difference."""
        try:
            yield
        except DAMAGE as error:
            self.differs(where, "cannot be read or makes no sense", f"{type(error).__name__}: {error}")


Checks = dict[Name, Check]


def new_checks() -> Checks:
    """Return a check of every name, with nothing in it."""
    return {name: Check() for name in TITLES}


def _same(said: object, found: object) -> bool:
    if isinstance(said, float) and isinstance(found, float) and math.isnan(said) and math.isnan(found):
        return True
    # True is no 1 here: a flag is not a count.
    return isinstance(said, bool) == isinstance(found, bool) and said == found


def _near(said: object, found: object) -> bool:
    numbers = isinstance(said, int | float) and isinstance(found, int | float)
    return numbers and math.isclose(float(said), float(found), rel_tol=CLOSE, abs_tol=CLOSE)  # type: ignore[arg-type]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 160 else f"{text[:159]}…"
