"""Check references: whether they can be parsed, and whether each is judged equal to itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evals.benchmarks import Problem
from evals.tasks.rows import format_value
from evals.verify import golds, rules
from evals.verify.forms import Form
from evals.verify.verifier import Verifier

MOST_WORDS = 8
"""Maximum number of words of an answer, outside of LaTeX. A longer text is right only if it is repeated exactly."""

_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")


def explain_unreadable(answer: str, form: Form) -> str | None:
    """Return why only an exact copy would be judged equal to a reference; None if the reference can be parsed."""
    if form.kind == "choice":
        return None
    text = golds.read_reference(answer, form).text
    if not text:
        return f"{format_value(answer)} holds no answer"
    if reason := rules.find_broken_cap(text):
        return f"{format_value(answer)} is more than the verifier parses ({reason})"
    words = len(_WORDS.findall(text))
    return f"{format_value(answer)} is a text of {words} words" if words > MOST_WORDS else None


def are_alike(answer: str, other: str, form: Form) -> bool:
    """Return whether two references are the same answer, as far as this can be decided without a parser."""
    if answer == other:
        return True
    return golds.compare(golds.read_reference(answer, form).text, golds.read_reference(other, form), form) is True


def check_references(problems: Sequence[Problem], verifier: Verifier) -> list[Problem]:
    r"""Return the problems whose reference, written as ``\boxed{answer}``, is not judged right."""
    pairs = [(rf"\boxed{{{problem.answer}}}", problem.answer) for problem in problems]
    verdicts = verifier.verify(pairs, [problem.form for problem in problems])
    return [problem for problem, verdict in zip(problems, verdicts, strict=True) if verdict.correct is not True]
