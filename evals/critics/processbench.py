"""Load ProcessBench: solutions of language models in which people marked the first wrong step.

Zheng et al., arXiv 2412.06559. Steps after the first wrong one have no label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field, model_validator

from evals.benchmarks import Problem
from evals.critics.data import PublishedSteps, Selection
from evals.critics.labels import LabelledSolution, StepLabels
from evals.tasks.rows import Flaws, Row, RowModel, validate_rows

SUBSETS = ("gsm8k", "math", "olympiadbench", "omnimath")


class _ProcessBenchRow(RowModel):
    id: str
    problem: str
    steps: list[str] = Field(min_length=1)
    label: int = Field(ge=-1)

    @model_validator(mode="after")
    def _label_is_a_step(self) -> _ProcessBenchRow:
        if self.label >= len(self.steps):
            raise ValueError(
                f"label is {self.label} but there are {len(self.steps)} steps, numbered from 0; "
                "give the first wrong step, or -1 for none"
            )
        return self


class ProcessBench(PublishedSteps):
    """The four subsets; a local file has the name of its subset."""

    name = "processbench"
    hub = "Qwen/ProcessBench"
    first_error = True
    subsets = SUBSETS
    alone = False

    def label(self, rows: Sequence[Row], subset: str, selection: Selection, flaws: Flaws) -> Iterable[LabelledSolution]:
        """Return the solutions of the rows."""
        return [_label(row, subset) for _, row in validate_rows(rows, _ProcessBenchRow, flaws)]


def _label(row: _ProcessBenchRow, subset: str) -> LabelledSolution:
    steps = len(row.steps)
    wrong = frozenset({row.label} - {-1})
    # Several models solved the same problem, so these solutions share its difficulty.
    labels = StepLabels(steps, wrong, frozenset(range(row.label + 1 if wrong else steps)), group=row.problem)
    problem = Problem(f"processbench/{row.id}", row.problem, "")
    return LabelledSolution(problem.id, subset, problem, tuple(row.steps), labels)


PROCESSBENCH = ProcessBench()
