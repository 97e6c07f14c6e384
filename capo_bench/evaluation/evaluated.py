"""A finished evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from capo_bench.evaluation.files import EvaluationFiles
from evals.harness.results import Result
from evals.tasks import SUITES


@dataclass(frozen=True)
class Evaluated:
    """An evaluation with its results.

    Attributes:
        files: Where it is.
        record: What was asked for, with the identity.
        results: One a task, in the order asked for.
    """

    files: EvaluationFiles
    record: dict[str, Any]
    results: list[Result]

    @property
    def id(self) -> str:
        """Name of its folder."""
        return str(self.record["id"])

    @property
    def title(self) -> str:
        """What was evaluated on what."""
        return f"{self.record['model']} on {', '.join(self.record['names'])}"

    def by_suite(self) -> dict[str, list[Result]]:
        """Return the results of each suite that was named, and under "tasks" of the tasks that were named alone."""
        found = {result.task: result for result in self.results}
        names = self.record["names"]
        parts = {name: [found[task] for task in SUITES[name]] for name in names if name in SUITES}
        alone = [found[name] for name in names if name not in SUITES]
        return {**parts, "tasks": alone} if alone else parts
