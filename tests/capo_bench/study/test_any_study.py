"""Whatever a file holds, it is a plan or a list of errors that each have a place and a way out: never a traceback."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capo_bench.study.errors import StudyErrors
from capo_bench.study.load import StudyFile
from capo_bench.study.parse import parse_study
from capo_bench.study.yamlfile import Document, TreePath

SHIPPED: dict[str, Any] = yaml.safe_load((files("ablations") / "voting.yaml").read_text(encoding="utf-8"))
SHIPPED["profiles"] = {name: SHIPPED["profiles"][name] for name in ("quick", "gpu")}
"""One that sets little and one that sets most: what one may hold, all may."""
ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, "", "x", "credit.vote", "coins_test/accuracy", [], {}, [None], [[1]], [{}], {"": 1}),
    *({"name": "noisy"}, {"name": 3}, {"credit.vote": ["union"]}, {"x": {"y": []}}, ["a", "a"], {"set": 3}, 2**40),
    *({"name": "a", "set": {"critic": None}}, [{"name": "b", "set": {"train": 3}}], [{"credit": {}}], {"quick": None}),
]


def paths(tree: Any, at: TreePath = ()) -> list[TreePath]:
    """Every place in a tree."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(path for key, value in items for path in paths(value, (*at, key)))]


def replaced(tree: Any, path: TreePath, value: Any) -> Any:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(tree, dict):
        return {**tree, head: replaced(tree.get(head), rest, value)}
    if isinstance(tree, list) and isinstance(head, int) and head < len(tree):
        return [*tree[:head], replaced(tree[head], rest, value), *tree[head + 1 :]]
    return value


def check(tree: Any) -> None:
    document = Document("s.yaml", tree, {(): 1})
    try:
        study, errors = parse_study(document)
        assert study is not None or errors
        if study is None:
            raise StudyErrors(errors)  # noqa: TRY301 - as `read_study` does
        for profile in StudyFile(document, study, errors).profiles:
            plan = StudyFile(document, study, errors).plan(profile)
            assert plan.trials
    except StudyErrors as found:
        assert found.items
        for item in found.items:
            assert item.rule
            assert item.way_out, item
            assert str(item).startswith("s.yaml:1: ")


@pytest.mark.parametrize("path", [path for path in paths(SHIPPED) if path], ids=str)
def test_any_value_at_any_place(path: TreePath) -> None:
    for value in ODD:
        check(replaced(SHIPPED, path, value))


@pytest.mark.parametrize("path", [path for path in paths(SHIPPED) if path], ids=str)
def test_an_odd_key_at_any_place(path: TreePath) -> None:
    for key in ("x", "set", "name", "credit.critiques", "critic", "at_least"):
        for value in (None, {"name": "noisy"}):
            check(replaced(SHIPPED, (*path, key), value))


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from([path for path in paths(SHIPPED) if path]), st.sampled_from(ODD)), max_size=4)
)
@example([])
def test_several_odd_values_at_once(changes: list[tuple[TreePath, Any]]) -> None:
    tree = SHIPPED
    for path, value in changes:
        tree = replaced(tree, path, value)
    check(tree)
