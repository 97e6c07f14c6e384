"""Convert rows of the multiple-choice benchmarks to problems, as lm-eval's ``process_docs``.

The answer is a letter, A for the first option, regardless of the benchmark's own labels.
"""

from __future__ import annotations

from hashlib import sha256
from string import ascii_uppercase as LETTERS  # noqa: N812 - a constant by nature
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from evals.benchmarks import Problem
from evals.tasks.canonical import hash_text, make_canonical
from evals.tasks.rows import RowModel, format_value
from evals.tasks.source import Raw
from evals.verify.forms import Form

if TYPE_CHECKING:
    from datasets import Dataset


class _Options(RowModel):
    text: list[str] = Field(min_length=2, max_length=len(LETTERS))
    label: list[str]


class _Arc(RowModel):
    id: str
    question: str = Field(min_length=1)
    choices: _Options
    right: str = Field(validation_alias="answerKey")

    @model_validator(mode="before")
    @classmethod
    def _one_layout(cls, row: dict[str, Any]) -> dict[str, Any]:
        """Convert AI2's own layout, with the options within the question, to the hub's layout."""
        inner = row.get("question")
        if not isinstance(inner, dict) or not isinstance(inner.get("choices"), list):
            return row
        parts = [part for part in inner["choices"] if isinstance(part, dict)]
        choices = {key: [part.get(key) for part in parts] for key in ("text", "label")}
        return {**row, "question": inner.get("stem"), "choices": choices}

    @model_validator(mode="after")
    def _key_is_a_label(self) -> _Arc:
        if len(self.choices.text) != len(self.choices.label) or self.right not in self.choices.label:
            raise ValueError(
                f"answerKey is {self.right!r} and the labels of {len(self.choices.text)} options are "
                f"{format_value(self.choices.label)}; give each option a label, and one of them as the key"
            )
        return self


class _MmluPro(RowModel):
    question_id: int
    question: str = Field(min_length=1)
    options: list[str] = Field(min_length=2, max_length=len(LETTERS))
    answer: str = Field(min_length=1)

    @model_validator(mode="after")
    def _answer_is_an_option(self) -> _MmluPro:
        if self.answer not in tuple(LETTERS[: len(self.options)]):
            raise ValueError(
                f"answer is {self.answer!r} but there are {len(self.options)} options, A to "
                f"{LETTERS[len(self.options) - 1]}; give the letter of one of them"
            )
        return self


class _Gpqa(RowModel):
    question: str = Field(min_length=1, validation_alias="Question")
    right: str = Field(min_length=1, validation_alias="Correct Answer")
    wrong_1: str = Field(min_length=1, validation_alias="Incorrect Answer 1")
    wrong_2: str = Field(min_length=1, validation_alias="Incorrect Answer 2")
    wrong_3: str = Field(min_length=1, validation_alias="Incorrect Answer 3")


def arc_challenge(raw: Raw) -> Dataset:
    """Return the problems of ARC-Challenge: three to five options, labelled A to E or 1 to 4."""
    return make_canonical(raw, _Arc, _convert_arc)


def mmlu_pro(raw: Raw) -> Dataset:
    """Return the problems of MMLU-Pro: up to ten options.

    The letter decides, not ``answer_index``. They disagree on question 3983, "in which of the following is not the
    negative end of the bond written last": the letter says N-H, which is right (nitrogen draws the electrons and is
    written first), the index P-Cl.
    """
    return make_canonical(raw, _MmluPro, _convert_mmlu_pro)


def gpqa_diamond(raw: Raw) -> Dataset:
    """Return the problems of GPQA, which gives the right answer separately: a fixed hash orders the options."""
    return make_canonical(raw, _Gpqa, _convert_gpqa)


def _convert_arc(row: _Arc) -> Problem:
    return _make_problem(row.id, row.question, row.choices.text, row.choices.label.index(row.right))


def _convert_mmlu_pro(row: _MmluPro) -> Problem:
    return _make_problem(str(row.question_id), row.question, row.options, LETTERS.index(row.answer))


def _convert_gpqa(row: _Gpqa) -> Problem:
    question = row.question.strip()
    right = row.right.strip()
    options = [right, *(wrong.strip() for wrong in (row.wrong_1, row.wrong_2, row.wrong_3))]
    order = sorted(range(4), key=lambda place: sha256(f"{question}\n{options[place]}".encode()).digest())
    return _make_problem(hash_text(question), question, [options[place] for place in order], order.index(0))


def _make_problem(name: str, question: str, options: list[str], right: int) -> Problem:
    return Problem(name, question, LETTERS[right], Form("choice", options=tuple(options)))
