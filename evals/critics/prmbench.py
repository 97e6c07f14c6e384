"""Load PRMBench: right solutions of PRM800K into which a model inserted errors of nine kinds; every step has a label.

Song et al., arXiv 2501.03124. The kinds are the subsets; in one of them, ``multi_solutions``, no step is wrong.
"""

from __future__ import annotations

from pydantic import Field

from evals.benchmarks import Problem
from evals.critics.data import Loaded, PublishedSteps, Selection, check_subsets, draw_solutions
from evals.critics.labels import LabelledSolution, StepLabels
from evals.tasks.rows import DataErrors, Flaws, RowModel, validate_rows

OUTSIDE = "error_steps names a step that the solution does not have"


class _PrmBenchRow(RowModel):
    idx: str
    classification: str
    modified_question: str
    modified_process: list[str] = Field(min_length=1)
    error_steps: list[int]


class PRMBench(PublishedSteps):
    """One local file, or the hub's dataset. `error_steps` counts from 1; rows with invalid indices are left out."""

    name = "prmbench"
    hub = "hitsmy/PRMBench_Preview"

    def load(self, selection: Selection) -> Loaded:
        """Load solutions from a local file or the hub."""
        flaws: Flaws = []
        rows = [row for _, row in validate_rows(self.rows("", selection.source, flaws), _PrmBenchRow, flaws)]
        if flaws:
            raise DataErrors(flaws)
        kinds = check_subsets(self.name, selection.subsets, dict.fromkeys(row.classification for row in rows))
        rows = [row for row in rows if row.classification in kinds]
        usable = [row for row in rows if all(1 <= step <= len(row.modified_process) for step in row.error_steps)]
        left_out = {OUTSIDE: len(rows) - len(usable)} if len(usable) < len(rows) else {}
        solutions = draw_solutions([_label(row) for row in usable], selection.limit, selection.seed)
        return Loaded(solutions, left_out, str(selection.source or self.hub))


def _label(row: _PrmBenchRow) -> LabelledSolution:
    steps, wrong = len(row.modified_process), frozenset(step - 1 for step in row.error_steps)
    # The same problem occurs with several kinds of error, and these solutions share most of their steps.
    labels = StepLabels(steps, wrong, frozenset(range(steps)), group=row.idx)
    problem = Problem(f"prmbench/{row.classification}/{row.idx}", row.modified_question, "")
    return LabelledSolution(problem.id, row.classification, problem, tuple(row.modified_process), labels)


PRMBENCH = PRMBench()
