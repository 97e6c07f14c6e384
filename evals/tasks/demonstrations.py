"""Provide demonstrations for supervised training: solutions of published data sets, and rows that a study defines."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from pydantic import Field, create_model, field_validator

from evals.tasks.maths import GRADE_SCHOOL, NUMINA_MATH, PROBLEM
from evals.tasks.row_sets import DataSet, locate_named_rows, stamp
from evals.tasks.row_settings import DemonstrationRows
from evals.tasks.rows import RowModel, format_value
from evals.tasks.training_sets import GSM8K, MATH, NUMINA

Turn = tuple[str, str]
"""Role and text of one turn of a conversation."""


@dataclass(frozen=True)
class Demonstration:
    """One demonstration for supervised training.

    Attributes:
        prompt: A problem, which is formatted as in reinforcement learning and evaluation; or the turns of a
            conversation, which are not changed.
        completion: Text that the model learns to write, and after which it learns to end.
    """

    prompt: str | tuple[Turn, ...]
    completion: str


class DemonstrationSet(DataSet[Demonstration]):
    """A data set of demonstrations."""

    what: ClassVar[str] = "demonstration"

    def content(self) -> list[object]:
        """Return prompts and completions."""
        return [[demonstration.prompt, demonstration.completion] for demonstration in self.all]

    def texts(self) -> list[str]:
        """Return the texts that a model reads and those that it learns to write, separately."""
        return [text for demonstration in self.all for text in (_join_prompt(demonstration), demonstration.completion)]


def load_named_demonstrations(source: DemonstrationRows) -> DemonstrationSet:
    """Return the demonstrations of a study's rows; a file is read once, and again if it has changed."""
    return _load_named(source, stamp(source))


def _join_prompt(demonstration: Demonstration) -> str:
    prompt = demonstration.prompt
    return prompt if isinstance(prompt, str) else "\n".join(text for _, text in prompt)


class _Message(RowModel):
    role: str
    content: str

    @field_validator("role")
    @classmethod
    def _spoken_by_somebody(cls, role: str) -> str:
        if role not in {"system", "user", "assistant"}:
            raise ValueError(f"role is {role!r} but should be system, user or assistant; correct the turn")
        return role


def _check_last(turns: list[_Message]) -> list[_Message]:
    """Validate that the last turn can be learned."""
    if turns[-1].role != "assistant" or not turns[-1].content.strip():
        raise ValueError(
            f"the last turn is {format_value(turns[-1].content)} of {turns[-1].role!r} but should be a text of the "
            "assistant, which is what is learnt; end the conversation with it"
        )
    return turns


class _Conversation(RowModel):
    messages: list[_Message] = Field(min_length=2)

    _last_is_learnt = field_validator("messages")(_check_last)


class _Pair(RowModel):
    prompt: str | list[_Message]
    completion: str | list[_Message]

    @field_validator("prompt")
    @classmethod
    def _asks_something(cls, prompt: str | list[_Message]) -> str | list[_Message]:
        if not prompt:
            raise ValueError(f"prompt is {format_value(prompt)}: nothing is asked; write the problem")
        return prompt

    @field_validator("completion")
    @classmethod
    def _has_text(cls, completion: str | list[_Message]) -> str | list[_Message]:
        if completion and isinstance(completion, list):
            return _check_last(completion)
        if isinstance(completion, list) or not completion.strip():
            raise ValueError(
                f"completion is {format_value(completion)}: nothing to learn; write what the model should write"
            )
        return completion


@cache
def _load_named(source: DemonstrationRows, written: object) -> DemonstrationSet:
    return DemonstrationSet(locate_named_rows(source), _make_layout(source), source)


def _make_layout(source: DemonstrationRows) -> tuple[type[RowModel], Callable[[Any], Demonstration | None]]:
    """Return the row model and the conversion for the columns that contain the demonstrations."""
    if source.messages:
        messages = (list[_Message], Field(min_length=2, validation_alias=source.messages))
        return create_model("NamedConversation", __base__=_Conversation, messages=messages), _convert_conversation
    columns: dict[str, Any] = {
        name: (str | list[_Message], Field(validation_alias=getattr(source, name))) for name in ("prompt", "completion")
    }
    return create_model("NamedPair", __base__=_Pair, **columns), _convert_pair


def _convert_conversation(row: _Conversation) -> Demonstration:
    return Demonstration(_convert_turns(row.messages[:-1]), row.messages[-1].content)


def _convert_pair(row: _Pair) -> Demonstration:
    prompt = row.prompt if isinstance(row.prompt, str) else _convert_turns(row.prompt)
    return Demonstration(prompt, row.completion if isinstance(row.completion, str) else row.completion[-1].content)


def _convert_turns(turns: list[_Message]) -> tuple[Turn, ...]:
    return tuple((turn.role, turn.content) for turn in turns)


_CALCULATOR = re.compile(r"<<[^<>]*>>")


def _convert_grade_school(row: Any) -> Demonstration:
    """Return GSM8K's solution in the requested format: one paragraph per step, with the boxed answer in the last."""
    steps = _CALCULATOR.sub("", row.answer).rpartition("####")[0].strip().split("\n")
    return Demonstration(row.question, "\n\n".join([*map(str.strip, steps), f"The answer is \\boxed{{{row.gold}}}."]))


def _convert_maths(row: Any) -> Demonstration | None:
    return Demonstration(row.problem, row.solution.strip()) if (row.solution or "").strip() else None


def _convert_numina(row: Any) -> Demonstration | None:
    return _convert_maths(row) if row.wanted else None


GSM8K_SOLUTIONS = DemonstrationSet(GSM8K.rows, (GRADE_SCHOOL[0], _convert_grade_school))
MATH_SOLUTIONS = DemonstrationSet(MATH.rows, (PROBLEM[0], _convert_maths))
NUMINA_SOLUTIONS = DemonstrationSet(NUMINA.rows, (NUMINA_MATH[0], _convert_numina))
