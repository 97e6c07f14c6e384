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
        files: Its files.
        record: The request, with the identity.
        results: One for each task, in the order of the request.
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
        """The model and its tasks in words."""
        return f"{self.record['model']} on {', '.join(self.record['names'])}"

    def by_suite(self) -> dict[str, list[Result]]:
        """Return the results of each named suite, and under "tasks" those of tasks that were named alone."""
        by_task = {result.task: result for result in self.results}
        names = self.record["names"]
        parts = {name: [by_task[task] for task in SUITES[name]] for name in names if name in SUITES}
        alone = [by_task[name] for name in names if name not in SUITES]
        return {**parts, "tasks": alone} if alone else parts
