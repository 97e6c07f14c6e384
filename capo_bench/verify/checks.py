"""What was compared, what differs, and what could not be compared and why. Nothing passes in silence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from capo_bench.store.records import flatten
from capo_bench.store.walk import ABSENT
from evals.harness.identity import EvaluationError

TITLES = {
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
    "tracked": "MLflow's final numbers from metrics.json",
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
    """Two values that should be equal: where, by file and line or cell, what is there, and what should be."""

    where: str
    recorded: str
    derived: str


@dataclass
class Check:
    """One kind of comparison: how many values were compared, and those that differ.

    `unchecked` counts by reason the values that could not be compared here: they are not verified. `measured` counts
    what nobody but the run itself could know, such as seconds.
    """

    compared: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    measured: Counter[str] = field(default_factory=Counter)

    def equal(self, where: str, recorded: object, derived: object, *, close: bool = False) -> bool:
        """Compare a value with the derived one; `close`: numbers may differ by `CLOSE`."""
        same = _is_same(recorded, derived) or (close and _is_near(recorded, derived))
        if same:
            self.compared += 1
        else:
            self.differs(where, recorded, derived)
        return same

    def differs(self, where: str, recorded: object, derived: object) -> None:
        """Note a difference."""
        self.compared += 1
        self.mismatches.append(Mismatch(_format_value(where), _format_value(recorded), _format_value(derived)))

    def leave(self, reason: str, count: int = 1) -> None:
        """Note values that cannot be compared here: they count as not verified."""
        if count:
            self.unchecked[_format_value(reason)] += count

    def take(self, what: str, count: int = 1) -> None:
        """Note values that only the run itself could measure, and that are taken as they stand."""
        self.measured[_format_value(what)] += count

    def fields(
        self,
        where: str,
        recorded: Mapping[str, Any],
        derived: Mapping[str, Any],
        *,
        close: Collection[str] = (),
        whole: bool = True,
    ) -> None:
        """Compare two records leaf by leaf, named by dotted path; of `close` ones, by last name, as `equal` says.

        A leaf that only one of them has differs; unless `whole`, those that only the record has are not looked at.
        """
        left, right = flatten(dict(recorded)), flatten(dict(derived))
        for name in dict.fromkeys([*(left if whole else ()), *right]):
            near = name.rpartition(".")[2] in close
            self.equal(f"{where} {name}", left.get(name, ABSENT), right.get(name, ABSENT), close=near)

    @contextmanager
    def reading(self, where: str) -> Iterator[None]:
        """Within it, a file that cannot be read or makes no sense is a difference."""
        try:
            yield
        except DAMAGE as error:
            self.differs(where, "cannot be read or makes no sense", f"{type(error).__name__}: {error}")


Checks = dict[str, Check]


def make_checks() -> Checks:
    """Return a check of every name, with nothing in it."""
    return {name: Check() for name in TITLES}


def _is_same(recorded: object, derived: object) -> bool:
    if isinstance(recorded, float) and isinstance(derived, float) and math.isnan(recorded) and math.isnan(derived):
        return True
    # True is no 1 here: a flag is not a count.
    return isinstance(recorded, bool) == isinstance(derived, bool) and recorded == derived


def _is_near(recorded: object, derived: object) -> bool:
    numbers = isinstance(recorded, int | float) and isinstance(derived, int | float)
    return numbers and math.isclose(float(recorded), float(derived), rel_tol=CLOSE, abs_tol=CLOSE)  # type: ignore[arg-type]


def _format_value(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 160 else f"{text[:159]}…"
