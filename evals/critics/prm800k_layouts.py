"""Read the layouts in which PRM800K is distributed, all as rated steps.

`Stepwise`: one row per rated step (Birchlabs/openai-prm800k-stepwise-critic). `Session`: one row per labeller's whole
solution with its alternatives (the original JSONL). `Completions`: one row per solution with labels that are true or
false (trl-lib/prm800k); there neutral steps were already labelled false, so they count as wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import model_validator

from evals.tasks.rows import Flaws, Row, RowModel, validate_rows

Rating = Literal[-1, 0, 1]


@dataclass(frozen=True)
class Rated:
    """One step with its rating.

    Attributes:
        problem: Text of the problem.
        before: The steps before it.
        text: The step.
        rating: -1 wrong, 0 neutral, 1 right; None unrated.
        answer: Reference answer; empty if unknown.
    """

    problem: str
    before: tuple[str, ...]
    text: str
    rating: int | None
    answer: str = ""


class Stepwise(RowModel):
    """A row of the stepwise layout. Its `answer` is the solution's own answer, not a reference."""

    instruction: str
    responses: list[str]
    next_response: str
    rating: Rating | None

    def rated(self) -> Iterator[Rated]:
        """Yield the only step of the row."""
        yield Rated(self.instruction, tuple(self.responses), self.next_response, self.rating)


class _Completion(RowModel):
    text: str
    rating: Rating | None = None


class _Step(RowModel):
    completions: list[_Completion] | None
    human_completion: _Completion | None = None
    chosen_completion: int | None = None

    @model_validator(mode="after")
    def _chosen_is_there(self) -> _Step:
        count = len(self.completions or [])
        if self.chosen_completion is not None and not 0 <= self.chosen_completion < count:
            raise ValueError(
                f"chosen_completion is {self.chosen_completion} of {count} completions, numbered from 0; "
                "name one of them, or null"
            )
        return self

    @property
    def gone_on_with(self) -> _Completion | None:
        if self.chosen_completion is not None and self.completions:
            return self.completions[self.chosen_completion]
        return self.human_completion


class _Prm800kQuestion(RowModel):
    problem: str
    ground_truth_answer: str | None = None


class _Label(RowModel):
    steps: list[_Step]


class Session(RowModel):
    """A row of the original layout."""

    question: _Prm800kQuestion
    label: _Label

    def rated(self) -> Iterator[Rated]:
        """Yield every completion of every step, up to the first step that was not continued."""
        before: tuple[str, ...] = ()
        for step in self.label.steps:
            human = [step.human_completion] if step.human_completion else []
            for completion in [*(step.completions or []), *human]:
                answer = self.question.ground_truth_answer or ""
                yield Rated(self.question.problem, before, completion.text, completion.rating, answer)
            if step.gone_on_with is None:
                return
            before = (*before, step.gone_on_with.text)


class Completions(RowModel):
    """A row of the layout with a label for each completion."""

    prompt: str
    completions: list[str]
    labels: list[bool]

    @model_validator(mode="after")
    def _one_label_each(self) -> Completions:
        if len(self.completions) != len(self.labels):
            raise ValueError(
                f"{len(self.completions)} completions but {len(self.labels)} labels; give each completion one label"
            )
        return self

    def rated(self) -> Iterator[Rated]:
        """Yield the steps in order."""
        for place, (text, right) in enumerate(zip(self.completions, self.labels, strict=True)):
            yield Rated(self.prompt, tuple(self.completions[:place]), text, 1 if right else -1)


Layout = type[Stepwise] | type[Session] | type[Completions]
LAYOUTS: dict[str, Layout] = {"next_response": Stepwise, "label": Session, "labels": Completions}
"""Column that identifies a layout, to the layout."""


def read_rated_steps(rows: Sequence[Row], flaws: Flaws) -> list[Rated]:
    """Read rows of any layout; errors in the rows are added to `flaws`."""
    steps: list[Rated] = []
    for row in rows:
        layout = next((layout for column, layout in LAYOUTS.items() if column in row.value), None)
        if layout is None:
            columns = " or ".join(repr(column) for column in LAYOUTS)
            flaws.append(
                f"{row.place}: has {', '.join(row.value)} but none of {columns}; see docs/measuring-critics.md"
            )
        else:
            steps += [step for _, model in validate_rows([row], layout, flaws) for step in model.rated()]
    return steps
