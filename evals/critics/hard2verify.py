"""Load Hard2Verify: proofs of frontier models for recent olympiads, with an expert's label of every step.

Pandit et al., arXiv 2510.13744. Their labels also mark a step as wrong that builds on an earlier mistake; here such a
step is not wrong in itself. Therefore, after the first wrong step, steps marked right have a label and the others have
none. Their score for finding the first error (ErrorID, balanced F1) is that of `first_error`. The published rows are
encrypted with a key in each row, so that crawlers cannot read them; they are decrypted in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from evals.benchmarks import Problem
from evals.critics.data import PublishedSteps, Selection
from evals.critics.labels import LabelledSolution, StepLabels
from evals.tasks.rows import Flaws, Row, RowModel, validate_rows

SUBSET = "test"
_CLOSED = ("question", "model_response_by_step", "human_labels", "human_labels_first_error_idx")


class _Hard2VerifyRow(RowModel):
    unique_id: str | int
    question: str
    model_response_by_step: list[str] = Field(min_length=1)
    human_labels: list[Literal[0, 1]]
    human_labels_first_error_idx: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _open(cls, row: Any) -> Any:
        key = row.get("canary") if isinstance(row, dict) else None
        if not isinstance(key, str):
            return row
        return {name: _decrypt(name, value, key) if name in _CLOSED else value for name, value in row.items()}

    @model_validator(mode="after")
    def _labels_of_its_steps(self) -> _Hard2VerifyRow:
        labels, steps, marked = self.human_labels, len(self.model_response_by_step), self.human_labels_first_error_idx
        if len(labels) != steps:
            raise ValueError(f"human_labels has {len(labels)} labels for {steps} steps; give one a step")
        if marked not in {self.first_error, None}:
            raise ValueError(
                f"human_labels_first_error_idx is {marked} and the first 0 of human_labels is at {self.first_error}; "
                "steps are numbered from 0, and -1 is none"
            )
        return self

    @property
    def first_error(self) -> int:
        """Index of the first step marked wrong; -1 if there is none."""
        return self.human_labels.index(0) if 0 in self.human_labels else -1


def _decrypt(name: str, value: Any, key: str) -> Any:
    """Return the decrypted value; a value that is not encrypted is returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        closed, pad = base64.b64decode(value, validate=True), hashlib.sha256(key.encode()).digest()
        text = bytes(byte ^ pad[place % len(pad)] for place, byte in enumerate(closed)).decode()
        return text if name == "question" else json.loads(text)
    except ValueError:
        return value


class Hard2Verify(PublishedSteps):
    """The data set Hard2Verify: one local file, or the hub's dataset."""

    name = "hard2verify"
    hub = "Salesforce/Hard2Verify"
    first_error = True
    subsets = (SUBSET,)

    def label(self, rows: Sequence[Row], subset: str, selection: Selection, flaws: Flaws) -> Iterable[LabelledSolution]:
        """Return the solutions of the rows."""
        return [_label(row) for _, row in validate_rows(rows, _Hard2VerifyRow, flaws)]


def _label(row: _Hard2VerifyRow) -> LabelledSolution:
    steps, first = len(row.model_response_by_step), row.first_error
    right = {step for step, label in enumerate(row.human_labels) if label}
    wrong = frozenset({first} - {-1})
    # Three models solved the same problem, so these solutions share its difficulty.
    labels = StepLabels(steps, wrong, wrong | right, group=row.question)
    problem = Problem(f"hard2verify/{row.unique_id}", row.question, "")
    return LabelledSolution(problem.id, SUBSET, problem, tuple(row.model_response_by_step), labels)


HARD2VERIFY = Hard2Verify()
