"""Count what was compared, what differs, and, with the reasons, what could not be compared."""

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
"""Largest relative difference of equal numbers, if a library determines the order of their sum."""

DAMAGE = (
    OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, RecursionError,
    MemoryError, EvaluationError,
)  # fmt: skip
"""Errors that reading a file of somebody else can raise."""


@dataclass(frozen=True)
class Mismatch:
    """Two values that should be equal: their place (file and line or cell), the recorded value and the derived one."""

    where: str
    recorded: str
    derived: str


@dataclass
class Check:
    """One kind of comparison: the number of compared values, and those that differ.

    `unchecked` counts, by reason, the values that could not be compared here: they are not verified. `measured` counts
    values that only the run itself could measure, such as seconds.
    """

    compared: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    unchecked: Counter[str] = field(default_factory=Counter)
    measured: Counter[str] = field(default_factory=Counter)

    def equal(self, where: str, recorded: object, derived: object, *, close: bool = False) -> bool:
        """Compare a value with the derived one; with `close`, numbers may differ by `CLOSE`."""
        same = _is_same(recorded, derived) or (close and _is_near(recorded, derived))
        if same:
            self.compared += 1
        else:
            self.differs(where, recorded, derived)
        return same

    def differs(self, where: str, recorded: object, derived: object) -> None:
        """Record a difference."""
        self.compared += 1
        self.mismatches.append(Mismatch(_format_value(where), _format_value(recorded), _format_value(derived)))

    def leave(self, reason: str, count: int = 1) -> None:
        """Count values that cannot be compared here as not verified."""
        if count:
            self.unchecked[_format_value(reason)] += count

    def take(self, what: str, count: int = 1) -> None:
        """Count values that only the run itself could measure; they are used as recorded."""
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
        """Compare the leaves of two records by their dotted paths; `close` (see `equal`) are last parts of such paths.

        A leaf that only one record has differs. Without `whole`, leaves that only `recorded` has are ignored.
        """
        left, right = flatten(dict(recorded)), flatten(dict(derived))
        for name in dict.fromkeys([*(left if whole else ()), *right]):
            near = name.rpartition(".")[2] in close
            self.equal(f"{where} {name}", left.get(name, ABSENT), right.get(name, ABSENT), close=near)

    @contextmanager
    def reading(self, where: str) -> Iterator[None]:
        """Record an error of reading a file, in the body of ``with``, as a difference."""
        try:
            yield
        except DAMAGE as error:
            self.differs(where, "cannot be read or makes no sense", f"{type(error).__name__}: {error}")


Checks = dict[str, Check]


def make_checks() -> Checks:
    """Return an empty check of each name."""
    return {name: Check() for name in TITLES}


def _is_same(recorded: object, derived: object) -> bool:
    if isinstance(recorded, float) and isinstance(derived, float) and math.isnan(recorded) and math.isnan(derived):
        return True
    # True is not 1 here: a flag is not a count.
    return isinstance(recorded, bool) == isinstance(derived, bool) and recorded == derived


def _is_near(recorded: object, derived: object) -> bool:
    numbers = isinstance(recorded, int | float) and isinstance(derived, int | float)
    return numbers and math.isclose(float(recorded), float(derived), rel_tol=CLOSE, abs_tol=CLOSE)  # type: ignore[arg-type]


def _format_value(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 160 else f"{text[:159]}…"
