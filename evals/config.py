"""Define the evaluation settings of a study. This module imports pydantic only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from evals.settings import Positive, Strict
from evals.tasks import SUITES, list_task_files, list_task_names
from evals.tasks.row_settings import TaskName, TestRows
from evals.verify.answers import AnswerStyle


class EvaluationConfig(Strict):
    """Settings of a trained policy's evaluation: greedy and sampled completions of `problems` problems of each task.

    `tasks` may contain suites (`evals.tasks.SUITES`). `greedy` requests one completion at temperature 0; `samples`
    requests k completions at `temperature`, and none if it is 0.

    If samples, temperature, top_p or max_completion_tokens are not set, the task's own values apply. `problems` draws
    that many problems of a larger task; null takes all. `segmenter` cuts the solutions whose steps are checked. It is
    not the segmenter that assigns credit, so that all policies are measured in the same way. `answers` defines where an
    answer may be in a completion; if it is not set, the task decides. `data_dir` contains local copies of the tasks'
    data; by default they are loaded from the hub. `rows` are the study's own tasks: problems by the name that `tasks`
    and metrics use.
    """

    rows: dict[TaskName, TestRows] = Field({})
    tasks: tuple[str, ...] = Field(
        ("coins_test", "coins_longer", "coins_distractors", "coins_unseen"), min_length=1, strict=False
    )
    problems: Positive | None = 256
    segmenter: str = "blank_lines"
    answers: AnswerStyle | None = None
    greedy: bool = True
    samples: Annotated[int, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(gt=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_completion_tokens: Positive | None = None
    backend: Literal["hf", "vllm"] = "hf"
    batch_size: Positive = 256
    data_dir: str | None = None

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, tasks: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(tasks)) != len(tasks):
            raise ValueError("a task is named twice; name each task once")
        return list_task_names(tasks, own=info.data.get("rows", {}))

    @field_validator("rows")
    @classmethod
    def _check_row_names(cls, rows: dict[str, TestRows]) -> dict[str, TestRows]:
        for name in rows.keys() & {*SUITES, *list_task_files()}:
            raise ValueError(f"a task or suite {name!r} ships with capo-bench or a package; rename your rows")
        return rows

    @model_validator(mode="after")
    def _check_asked(self) -> EvaluationConfig:
        if not (self.greedy or self.samples):
            raise ValueError("greedy is false and samples is not set: nothing is asked; set samples, as in samples: 8")
        return self
