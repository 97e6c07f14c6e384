"""Define the settings of rows, a study's own or published ones. This module imports pydantic only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from evals.registry import Registry
from evals.settings import Strict

if TYPE_CHECKING:
    from evals.tasks.demonstrations import DemonstrationSet

Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Column = Annotated[str, Field(min_length=1)]


class RowSource(Strict):
    """Rows that a study defines: a local file, or a dataset of the hub at a commit.

    Attributes:
        file: A JSONL, JSON, Parquet or CSV file. Its rows are part of a trial's identity, its path is not.
        revision: Commit of the dataset, all 40 digits.
        config: Configuration of the dataset; None: its only one.
    """

    file: Annotated[str, Field(min_length=1)] | None = None
    hub: Annotated[str, Field(min_length=1)] | None = None
    revision: Commit | None = None
    config: str | None = None
    split: Annotated[str, Field(min_length=1)] = "train"

    @model_validator(mode="after")
    def _in_one_place(self) -> RowSource:
        if (self.file is None) == (self.hub is None):
            raise ValueError(f"file is {self.file!r} and hub is {self.hub!r}; name a file or a dataset of the hub")
        if self.hub is not None and self.revision is None:
            raise ValueError(
                f"hub {self.hub!r} has no revision, and what a branch holds changes; set revision to a commit"
            )
        if self.file is not None and (self.revision or self.config):
            raise ValueError(
                f"file {self.file!r} with revision {self.revision!r} and config {self.config!r}: a file has neither; "
                "remove them"
            )
        return self


class ProblemRows(RowSource):
    """Problems with reference answers.

    Attributes:
        problem: Column of the problem; None: ``problem`` or ``question``.
        answer: Column of the answer; None: ``answer``, or the boxed answer in ``solution``.
    """

    problem: Column | None = None
    answer: Column | None = None


class TestRows(ProblemRows):
    """Problems for evaluation."""

    __test__ = False
    split: Annotated[str, Field(min_length=1)] = "test"


class DemonstrationRows(RowSource):
    """Demonstrations for supervised training: a prompt and its completion, or a conversation with a last turn to learn.

    Attributes:
        prompt: Column of the problem, or of the turns that the model reads.
        completion: Column of the solution, or of the turn that the model learns.
        messages: Column of conversations, instead of both.
    """

    prompt: Column = "prompt"
    completion: Column = "completion"
    messages: Column | None = None


def _tag_rows(value: Any) -> str:
    return "name" if isinstance(value, str) else "rows"


BenchmarkName = Annotated[Annotated[str, Tag("name")] | Annotated[ProblemRows, Tag("rows")], Discriminator(_tag_rows)]
"""The problems of training: a registered benchmark, or rows that the study defines."""
DemonstrationsName = Annotated[
    Annotated[str, Tag("name")] | Annotated[DemonstrationRows, Tag("rows")], Discriminator(_tag_rows)
]
"""The demonstrations of supervised training: a published data set, or rows that the study defines."""
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]

DEMONSTRATIONS: Registry[DemonstrationSet] = Registry(
    "set of demonstrations",
    "capo_bench.demonstrations",
    {
        "gsm8k": "evals.tasks.demonstrations:GSM8K_SOLUTIONS",
        "math": "evals.tasks.demonstrations:MATH_SOLUTIONS",
        "numina_math": "evals.tasks.demonstrations:NUMINA_SOLUTIONS",
    },
)
"""Published solutions for supervised training."""
