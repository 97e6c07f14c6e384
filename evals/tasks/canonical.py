"""Convert every benchmark's rows to one layout: the docs of a task in lm-eval."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from evals.benchmarks import Problem
from evals.tasks.rows import DataErrors, M, Row, validate_rows
from evals.tasks.source import Raw
from evals.verify.forms import Form

if TYPE_CHECKING:
    from datasets import Dataset


def make_canonical(
    raw: Raw | Iterable[Mapping[str, Any]], model: type[M], make: Callable[[M], Problem | None]
) -> Dataset:
    """Return a dataset with the columns id, problem, answer, kind, several, unit and options.

    Args:
        raw: The rows; may also be a dataset that lm-eval loaded itself.
        model: Model that validates a row.
        make: Function from a validated row to its problem, with its id within the benchmark; None leaves the row out.

    Raises:
        DataErrors: All errors in the rows.
    """
    if not isinstance(raw, Raw):
        raw = Raw([Row(f"row {number}", dict(row)) for number, row in enumerate(raw, 1)], "", "the dataset")
    flaws = list(raw.flaws)
    problems = [
        (row.place, problem)
        for row, value in validate_rows(raw.rows, model, flaws)
        if (problem := make(value)) is not None
    ]
    places = defaultdict(list)
    for place, problem in problems:
        places[problem.id].append(place)
    flaws += [
        f"{twice[1]}: the problem {name!r} is there twice, first at {twice[0]}; remove one of them"
        for name, twice in places.items()
        if len(twice) > 1
    ]
    if not problems and not flaws:
        flaws.append(f"{raw.source or 'the file'}: holds no problem of this benchmark; name another file")
    if flaws:
        raise DataErrors(flaws)
    ahead = f"{raw.benchmark}/" if raw.benchmark else ""
    return _make_dataset([replace(problem, id=ahead + problem.id) for _, problem in problems])


def get_form(doc: Mapping[str, Any]) -> Form:
    """Return the form of a doc's answer."""
    return Form(doc["kind"], doc["several"], doc["unit"], tuple(doc["options"]))


def hash_text(text: str) -> str:
    """Return a hash of a text, 12 hexadecimal digits."""
    return sha256(text.encode()).hexdigest()[:12]


def hash_value(value: object) -> str:
    """Return a hash of plain data, 12 hexadecimal digits."""
    return hash_text(json.dumps(value, sort_keys=True, ensure_ascii=False))


def _make_dataset(problems: list[Problem]) -> Dataset:
    from datasets import Dataset, Features, List, Value

    text, flag = Value("string"), Value("bool")
    columns = {"id": text, "problem": text, "answer": text, "kind": text, "several": flag, "unit": text}
    docs = [
        {
            "id": problem.id,
            "problem": problem.prompt,
            "answer": problem.answer,
            "kind": problem.form.kind,
            "several": problem.form.several,
            "unit": problem.form.unit,
            "options": list(problem.form.options),
        }
        for problem in problems
    ]
    return Dataset.from_list(docs, features=Features({**columns, "options": List(text)}))
