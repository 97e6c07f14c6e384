"""From a file's tree to a study, with every error of its form."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from capo_bench.study.errors import StudyError
from capo_bench.study.explain import explain
from capo_bench.study.keys import dotted_keys, suggestion, value_at, without
from capo_bench.study.spec import Study
from capo_bench.study.yamlfile import Document, Tree, TreePath
from trainers.config import TrialConfig


def parse_study(document: Document) -> tuple[Study | None, list[StudyError]]:
    """Read a study from its tree.

    Returns:
        The study and every error of its form. With errors, the study is what is left without the offending keys, so
        that the rest can still be checked; None if that is no study.
    """
    tree, bad = document.tree, _bad_parts(document)
    # From the back, so that the index of an item still holds when its turn comes.
    paths = {path for path, _ in bad}
    for path in sorted(paths, key=lambda path: [(0, p) if isinstance(p, str) else (p, "") for p in path], reverse=True):
        tree = without(tree, path)
    errors = [error for _, error in bad]
    try:
        return Study.model_validate(tree), errors
    except ValidationError:
        return None, errors


def _bad_parts(document: Document) -> list[tuple[TreePath, StudyError]]:
    tree, bad = document.tree, []
    try:
        Study.model_validate(tree)
    except ValidationError as error:
        bad += explain(error, tree, [Study], document.place)
    base = tree.get("base")
    if isinstance(base, dict):
        bad += _bad_base(base, document)
    for path in _override_tables(tree):
        bad += _bad_overrides(path, tree, document)
    return bad


def _bad_base(base: dict[str, Any], document: Document) -> list[tuple[TreePath, StudyError]]:
    """Return what is wrong with single values of `base`; rules among several are checked for each variant."""
    try:
        TrialConfig.model_validate(base)
    except ValidationError as error:
        errors = explain(error, base, [TrialConfig], lambda path: document.place(("base", *path)))
        return [(("base", *path), item) for path, item in errors if _written_leaf(base, path)]
    return []


def _written_leaf(tree: Tree, path: TreePath) -> bool:
    for part in path:
        if not (isinstance(tree, dict) and part in tree):
            return isinstance(tree, list)
        tree = tree[part]
    return not isinstance(tree, dict) or tree.get("name") is not None


def _override_tables(tree: dict[str, Any]) -> list[TreePath]:
    """Return the paths of all tables whose keys are dotted keys."""
    profiles = tree.get("profiles")
    profiles = profiles if isinstance(profiles, dict) else {}
    tables: list[TreePath] = [("profiles", name, "set") for name in profiles]
    for at in ((), *(("profiles", name) for name in profiles)):
        tables += [(*at, "matrix"), (*at, "zip")]
        tables += [(*at, "exclude", index) for index in range(len(_items(tree, (*at, "exclude"))))]
        tables += [(*at, "include", index, "set") for index in range(len(_items(tree, (*at, "include"))))]
    return tables


def _items(tree: Tree, path: TreePath) -> list[Any]:
    value = value_at(tree, path)
    return value if isinstance(value, list) else []


def _bad_overrides(path: TreePath, tree: Tree, document: Document) -> list[tuple[TreePath, StudyError]]:
    table = value_at(tree, path)
    unknown = [key for key in table if key not in dotted_keys(TrialConfig)] if isinstance(table, dict) else []
    section = path[-1] if isinstance(path[-1], str) else path[-2]
    return [
        ((*path, key), StudyError(document.place((*path, key)), f"unknown key {key!r} under {section!r}", hint))
        for key in unknown
        for hint in [suggestion(key, dotted_keys(TrialConfig))]
    ]
