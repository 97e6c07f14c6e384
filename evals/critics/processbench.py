"""ProcessBench: solutions of language models, in which people marked the first wrong step.

Zheng et al., arXiv 2412.06559. Steps after the first wrong one have no label.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from evals.benchmarks import Problem
from evals.critics.data import Loaded, Selection, checked_subsets, drawn
from evals.critics.labels import LabelledSolution, StepLabels
from evals.tasks.rows import DataErrors, Flaws, Row, RowModel, data_files, hub_rows, models, read_rows

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


class ProcessBench:
    """The four subsets; a local file is named after its subset."""

    name = "processbench"
    benchmark: str | None = None
    first_error = True
    hub = "Qwen/ProcessBench"

    def load(self, selection: Selection) -> Loaded:
        """Load solutions from local files or the hub."""
        flaws: Flaws = []
        solutions = [
            _labelled(row, subset)
            for subset in checked_subsets(self.name, selection.subsets, SUBSETS)
            for _, row in models(self._rows(subset, selection.source, flaws), _ProcessBenchRow, flaws)
        ]
        if flaws:
            raise DataErrors(flaws)
        return Loaded(drawn(solutions, selection.limit, selection.seed), source=str(selection.source or self.hub))

    def _rows(self, subset: str, source: Path | None, flaws: Flaws) -> list[Row]:
        if source is None:
            return hub_rows(self.hub, subset, flaws)
        files = data_files(source, self.name, subset, alone=False)
        if not files:
            flaws.append(
                f"--data-dir {source}: no file for subset {subset!r}; it is expected as "
                f"{self.name}/{subset}.json, .jsonl or .parquet; name other subsets with --data {self.name}:…"
            )
        return [row for file in files for row in read_rows(file, flaws)]


def _labelled(row: _ProcessBenchRow, subset: str) -> LabelledSolution:
    steps = len(row.steps)
    wrong = frozenset({row.label} - {-1})
    # Several models solved the same problem: those solutions share its difficulty.
    labels = StepLabels(steps, wrong, frozenset(range(row.label + 1 if wrong else steps)), group=row.problem)
    problem = Problem(f"processbench/{row.id}", row.problem, "")
    return LabelledSolution(problem.id, subset, problem, tuple(row.steps), labels)


PROCESSBENCH = ProcessBench()
