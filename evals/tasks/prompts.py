"""Build the prompts of a task's docs, as lm-eval's ``doc_to_text`` and ``doc_to_choice``."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from evals.models.prompt import INSTRUCTION


def instructed(doc: Mapping[str, Any]) -> str:
    """Return the instruction and the problem, with its options if it has any."""
    return INSTRUCTION + (listed(doc) if doc["options"] else str(doc["problem"]))


def listed(doc: Mapping[str, Any]) -> str:
    """Return a question with its options, and a request for a letter."""
    return "\n".join([doc["problem"], "", *_list_options(doc), "", "Which option is right? Answer with its letter."])


def lettered(doc: Mapping[str, Any]) -> str:
    """Return the context whose continuations are the letters of the options."""
    return "\n".join([f"Question: {doc['problem']}", *_list_options(doc), "Answer:"])


def letters(doc: Mapping[str, Any]) -> list[str]:
    """Return the letters of a doc's options."""
    return list(ascii_uppercase[: len(doc["options"])])


def right_option(doc: Mapping[str, Any]) -> int:
    """Return the index of the right option."""
    return letters(doc).index(doc["answer"])


def _list_options(doc: Mapping[str, Any]) -> list[str]:
    return [f"{letter}. {option}" for letter, option in zip(letters(doc), doc["options"], strict=True)]
