"""Imports go one way, capo_bench, trainers, evals; and no room comes back to itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVELS = ("evals", "trainers", "capo_bench")


def imports_of(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, inside functions and for types too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = ROOT.joinpath(*node.module.split("."))
            modules = [alias.name for alias in node.names if (inner / f"{alias.name}.py").exists()]
            yield from (f"{node.module}.{name}" for name in modules) if modules else [node.module]


def room(module: str) -> str:
    """Return the package or the file at the top of evals, trainers or capo_bench in which a module is."""
    return ".".join(module.split(".")[:2])


def edges(package: str) -> dict[str, set[str]]:
    """Return the rooms of a package, each with the rooms of any package that it imports."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / package).rglob("*.py"):
        own = room(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        ours = {room(module) for module in imports_of(file) if module.split(".")[0] in LEVELS}
        found.setdefault(own, set()).update(ours - {own})
    return found


def reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    """Return the rooms that a room comes to by its imports."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = graph.get(todo.pop(), set()) - seen
        seen |= new
        todo += new
    return seen


@pytest.mark.parametrize("package", LEVELS)
def test_imports_never_go_back(package: str) -> None:
    later = LEVELS[LEVELS.index(package) + 1 :]
    wrong = {(own, other) for own, others in edges(package).items() for other in others if other.startswith(later)}
    assert wrong == set()


@pytest.mark.parametrize("package", LEVELS)
def test_no_room_comes_back_to_itself(package: str) -> None:
    graph = edges(package)
    assert len(graph) > 5
    assert [own for own in graph if own in reachable(own, graph)] == []


def test_analysis_draws_nothing() -> None:
    assert "capo_bench.pages" not in reachable("capo_bench.analysis", edges("capo_bench"))


def test_a_circle_would_be_found() -> None:
    assert reachable("a", {"a": {"b"}, "b": {"c"}, "c": {"a"}}) == {"a", "b", "c"}


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, set[str]] = {}
    for file in (file for package in ("capo_bench", "evals", "trainers") for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, set()).add(str(file.relative_to(ROOT)))
    assert len(places) > 300
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
