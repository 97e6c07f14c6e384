"""Parse a file's tree into a study and report all errors of form."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from capo_bench.study.errors import StudyError
from capo_bench.study.explain import explain
from capo_bench.study.keys import get_value, list_dotted_keys, remove_value, suggest_key
from capo_bench.study.spec import Study
from capo_bench.study.yamlfile import Document, Tree, TreePath
from trainers.config import TrialConfig


def parse_study(document: Document) -> tuple[Study | None, list[StudyError]]:
    """Parse a study from its tree.

    Returns:
        The study, and all errors of form. With errors, the study is parsed without the invalid keys, which allows
        checking the rest; None if that is not a valid study.
    """
    tree, bad = document.tree, _find_errors(document)
    # In reverse order, so removing an item does not change the index of a later one in the loop.
    paths = {path for path, _ in bad}
    for path in sorted(paths, key=lambda path: [(0, p) if isinstance(p, str) else (p, "") for p in path], reverse=True):
        tree = remove_value(tree, path)
    errors = [error for _, error in bad]
    try:
        return Study.model_validate(tree), errors
    except ValidationError:
        return None, errors


def _find_errors(document: Document) -> list[tuple[TreePath, StudyError]]:
    tree, bad = document.tree, []
    try:
        Study.model_validate(tree)
    except ValidationError as error:
        bad += explain(error, tree, [Study], document.place)
    base = tree.get("base")
    if isinstance(base, dict):
        bad += _check_base(base, document)
    for path in _list_override_tables(tree):
        bad += _check_overrides(path, tree, document)
    return bad


def _check_base(base: dict[str, Any], document: Document) -> list[tuple[TreePath, StudyError]]:
    """Return the invalid single values of `base`; rules about several values are checked for each variant."""
    try:
        TrialConfig.model_validate(base)
    except ValidationError as error:
        errors = explain(error, base, [TrialConfig], lambda path: document.place(("base", *path)))
        return [(("base", *path), item) for path, item in errors if _is_written_leaf(base, path)]
    return []


def _is_written_leaf(tree: Tree, path: TreePath) -> bool:
    for part in path:
        if not (isinstance(tree, dict) and part in tree):
            return isinstance(tree, list)
        tree = tree[part]
    return not isinstance(tree, dict) or tree.get("name") is not None


def _list_override_tables(tree: dict[str, Any]) -> list[TreePath]:
    """Return the paths of all tables whose keys are dotted keys."""
    profiles = tree.get("profiles")
    profiles = profiles if isinstance(profiles, dict) else {}
    tables: list[TreePath] = [("profiles", name, "set") for name in profiles]
    for at in ((), *(("profiles", name) for name in profiles)):
        tables += [(*at, "matrix"), (*at, "zip")]
        tables += [(*at, "exclude", index) for index in range(len(_get_items(tree, (*at, "exclude"))))]
        tables += [(*at, "include", index, "set") for index in range(len(_get_items(tree, (*at, "include"))))]
    return tables


def _get_items(tree: Tree, path: TreePath) -> list[Any]:
    value = get_value(tree, path)
    return value if isinstance(value, list) else []


def _check_overrides(path: TreePath, tree: Tree, document: Document) -> list[tuple[TreePath, StudyError]]:
    table = get_value(tree, path)
    unknown = [key for key in table if key not in list_dotted_keys(TrialConfig)] if isinstance(table, dict) else []
    section = path[-1] if isinstance(path[-1], str) else path[-2]
    return [
        ((*path, key), StudyError(document.place((*path, key)), f"unknown key {key!r} under {section!r}", hint))
        for key in unknown
        for hint in [suggest_key(key, list_dotted_keys(TrialConfig))]
    ]
