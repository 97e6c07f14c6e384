"""Functions begin with a verb that says what they do or return; every exception is stated here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

VERBS = set(Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8").split())
"""Verbs of the tree. A new one is added here; an adjective, a participle or a noun is none."""

AUXILIARIES = {"are", "can", "do", "has", "is", "should"}
"""They begin functions that return whether something is so, as does a verb in the third person (`lacks_weights`)."""

CONVERSIONS = ("as_", "for_", "from_", "on_", "to_")
"""``for_csv``, ``on_log``: what something becomes for a reader, or what is done when something happens."""

REGISTERED = {
    "evals/metrics.py": "the metrics of samples, by their names in results",
    "evals/at_k.py": "the metrics of k answers, by their names in results",
    "evals/tasks/choices.py": "readers of benchmarks, by the benchmarks' names",
    "evals/tasks/maths.py": "readers of benchmarks, by the benchmarks' names",
    "evals/tasks/prompts.py": "parts of prompts, as task files name them",
    "evals/tasks/scoring.py": "parts of scoring, as task files name them",
    "evals/tasks/source.py": "origins of rows, as task files name them",
    "trainers/credit": "methods, votes, normalisations and segmenters, by the names that a study uses",
}
"""Files and folders whose functions have the names that users write, and why."""


def list_functions(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's functions, except those of commands."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(decorator).split("(")[0].rpartition(".")[2] for decorator in node.decorator_list}
            if not decorators & {"command", "group"} and node.name not in {"main", "__getattr__"}:
                yield node.name


def begins_with_a_verb(name: str) -> bool:
    first = name.lstrip("_").partition("_")[0]
    third_person = first.endswith("s") and {first[:-1], first[:-2], f"{first[:-3]}y"} & VERBS
    return first in VERBS | AUXILIARIES or bool(third_person)


def is_registered(file: str) -> bool:
    return any(file == place or file.startswith(f"{place}/") for place in REGISTERED)


@pytest.mark.parametrize("package", ["capo_bench", "trainers", "evals"])
def test_functions_begin_with_a_verb(package: str) -> None:
    wrong = [
        f"{file}: {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if not is_registered(file := path.relative_to(ROOT).as_posix())
        for name in list_functions(ast.parse(path.read_text(encoding="utf-8")))
        if not begins_with_a_verb(name) and not name.lstrip("_").startswith(CONVERSIONS)
    ]
    assert wrong == []


def test_every_exception_is_needed() -> None:
    for place in REGISTERED:
        path = ROOT / place
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        names = [name for file in files for name in list_functions(ast.parse(file.read_text(encoding="utf-8")))]
        assert not all(map(begins_with_a_verb, names)), place


@pytest.mark.parametrize("name", ["answered", "p_value", "known_keys", "sentence"])
def test_what_is_no_verb_is_found(name: str) -> None:
    assert not begins_with_a_verb(name)
