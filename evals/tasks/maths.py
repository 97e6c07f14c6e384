"""Convert rows of the maths benchmarks to problems, as lm-eval's ``process_docs``.

One layout fits most of them: a problem in a column with a usual name, and an answer or a solution with a boxed answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import AliasChoices, Field, model_validator

from evals.benchmarks import Problem
from evals.tasks.canonical import hash_text, make_canonical
from evals.tasks.rows import RowModel, format_value
from evals.tasks.source import Raw
from evals.verify.answers import read_boxed
from evals.verify.forms import Form

if TYPE_CHECKING:
    from datasets import Dataset

_DOLLAR = re.compile(r"(?<!\\)\$")
_DAPO = re.compile(
    r"Solve the following math problem step by step\. The last line of your response should be of the form Answer: "
    r"\$Answer \(without quotes\) where \$Answer is the answer to the problem\.\s+(?P<problem>.*?)\s+"
    r"Remember to put your answer on its own line after \"Answer:\"\.",
    re.DOTALL,
)
_FINAL = re.compile(r"####\s*(?P<answer>\S.*?)\s*\Z")


class _Problem(RowModel):
    id: str | int | None = Field(None, validation_alias=AliasChoices("unique_id", "id", "ID", "idx"))
    problem: str = Field(min_length=1, validation_alias=AliasChoices("problem", "Problem", "question", "Question"))
    answer: str | int | float | None = Field(None, validation_alias=AliasChoices("answer", "Answer"))
    solution: str | None = Field(None, validation_alias=AliasChoices("solution", "Solution"))

    @model_validator(mode="after")
    def _has_an_answer(self) -> _Problem:
        if not self.gold:
            raise ValueError(
                f"answer is {format_value(self.answer)} and the solution boxes none; give the answer, or a solution "
                "with \\boxed{…}"
            )
        return self

    @property
    def gold(self) -> str:
        if isinstance(self.answer, float) and self.answer.is_integer():
            return str(int(self.answer))  # AMC's answers are 27.0 where the competition's is 27
        if self.answer is None or self.answer != self.answer:  # NaN represents a missing value
            return (read_boxed(self.solution or "") or "").strip()
        text = str(self.answer).strip()
        final = _FINAL.search(text)  # a solution in GSM8K's format
        return final["answer"].replace(",", "") if final else text


class _GradeSchool(RowModel):
    question: str = Field(min_length=1)
    answer: str

    @model_validator(mode="after")
    def _has_a_final_line(self) -> _GradeSchool:
        if not _FINAL.search(self.answer):
            raise ValueError(f"answer is {format_value(self.answer)} but should end as in '#### 18'; write it there")
        return self

    @property
    def gold(self) -> str:
        match = _FINAL.search(self.answer)
        return match["answer"].replace(",", "") if match else ""


class _Olympiad(RowModel):
    id: int
    question: str = Field(min_length=1)
    context: str | None = None
    final_answer: list[str] | None
    is_multiple_answer: bool
    unit: str | None = None
    # The hub's copy has these columns; files with only this subset do not.
    modality: str = "Text-only"
    language: str = "English"
    subject: str = "Math"
    question_type: str = "Open-ended"

    @property
    def wanted(self) -> bool:
        kind = (self.modality, self.language, self.subject, self.question_type)
        return kind == ("Text-only", "English", "Math", "Open-ended")

    @model_validator(mode="after")
    def _has_an_answer(self) -> _Olympiad:
        if self.wanted and not any(answer.strip() for answer in self.final_answer or ()):
            raise ValueError(f"final_answer is {format_value(self.final_answer)} but should hold the answer; give it")
        return self


class _Turn(RowModel):
    role: str
    content: str


class _GroundTruth(RowModel):
    ground_truth: str = Field(min_length=1)


class _Dapo(RowModel):
    prompt: list[_Turn] = Field(min_length=1)
    reward_model: _GroundTruth

    @property
    def problem(self) -> str | None:
        match = _DAPO.fullmatch(self.prompt[-1].content.strip())
        return match["problem"].strip() if match else None

    @model_validator(mode="after")
    def _has_the_instruction(self) -> _Dapo:
        if not self.problem:
            raise ValueError(
                f"prompt is {format_value(self.prompt[-1].content)} but should hold the problem between the "
                "instructions that DAPO-Math-17k puts around it; the data set has changed, so name its columns "
                "(benchmark.problem)"
            )
        return self


class _Numina(RowModel):
    problem: str | None
    solution: str | None
    answer: str | None
    question_type: str | None
    problem_is_valid: str | None
    solution_is_valid: str | None

    @property
    def wanted(self) -> bool:
        valid = self.problem_is_valid == self.solution_is_valid == "Yes"
        answered = (self.answer or "").strip().lower() not in {"", "proof", "notfound"}
        return valid and answered and self.question_type == "math-word-problem" and bool((self.problem or "").strip())


class _DrawnRow(RowModel):
    id: str
    problem: str
    answer: str


def _convert_problem(row: _Problem) -> Problem:
    return Problem(hash_text(row.problem) if row.id is None else str(row.id), row.problem, row.gold)


def _convert_grade_school(row: _GradeSchool) -> Problem:
    return Problem(hash_text(row.question), row.question, row.gold)


def _convert_dapo(row: _Dapo) -> Problem:
    text = str(row.problem)
    return Problem(hash_text(text), text, row.reward_model.ground_truth.strip())


def _convert_numina(row: _Numina) -> Problem | None:
    text = (row.problem or "").strip()
    return Problem(hash_text(text), text, (row.answer or "").strip()) if row.wanted else None


PROBLEM = _Problem, _convert_problem
"""Rows with a problem, and an answer or a solution with a boxed answer: row model, and conversion to a problem."""
GRADE_SCHOOL = _GradeSchool, _convert_grade_school
"""Rows of GSM8K, whose answers end in ``#### 1,234``; a row has no id, so the hash of its question is used."""
DAPO_MATH = _Dapo, _convert_dapo
"""Rows of DAPO-Math-17k: the problem is inside an instruction that requests another format of the answer."""
NUMINA_MATH = _Numina, _convert_numina
"""Rows of NuminaMath-1.5, without proofs, multiple choice and rows that its authors call incomplete or wrong."""


def problems(raw: Raw) -> Dataset:
    """Return problems with or without an id, and an answer or a boxed one: MATH-500, AIME, AMC, Minerva."""
    return make_canonical(raw, *PROBLEM)


def gsm8k(raw: Raw) -> Dataset:
    """Return the problems of GSM8K."""
    return make_canonical(raw, *GRADE_SCHOOL)


def olympiadbench(raw: Raw) -> Dataset:
    """Return OlympiadBench's problems in English and in maths, without pictures and with an answer.

    The tolerance of one percentage (column ``error``) is ignored: an answer is either equal or not.
    """
    return make_canonical(raw, _Olympiad, _convert_olympiad)


def drawn(raw: Raw) -> Dataset:
    """Return the problems of a registered benchmark."""
    return make_canonical(raw, _DrawnRow, lambda row: Problem(row.id, row.problem, row.answer))


def _convert_olympiad(row: _Olympiad) -> Problem | None:
    if not row.wanted:
        return None
    # Dollar signs only delimit LaTeX, sometimes separately for each value of a list.
    answer = ", ".join(_DOLLAR.sub("", part).strip() for part in row.final_answer or ())
    form = Form(several=row.is_multiple_answer, unit=_DOLLAR.sub("", row.unit) if row.unit else None)
    text = f"{row.context}\n{row.question}" if row.context else row.question
    return Problem(str(row.id), text, answer, form)
