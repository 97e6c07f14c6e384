"""Parse a file's tree into a study and report all errors of form."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from capo_bench.study.errors import StudyError
from capo_bench.study.explain import explain
from capo_bench.study.keys import list_dotted_keys, remove_value, suggest_key
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
    return bad + _check_overrides(document)


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


def _check_overrides(document: Document) -> list[tuple[TreePath, StudyError]]:
    """Return the unknown keys of all tables whose keys are dotted keys of settings."""
    errors, known = [], list_dotted_keys(TrialConfig)
    for path in document.lines:
        if _is_override(path) and path[-1] not in known:
            section = path[-2] if isinstance(path[-2], str) else path[-3]
            rule = f"unknown key {path[-1]!r} under {section!r}"
            errors.append((path, StudyError(document.place(path), rule, suggest_key(str(path[-1]), known))))
    return errors


def _is_override(path: TreePath) -> bool:
    """Return whether a path leads to a key in a table of dotted keys, of the study or of a profile."""
    in_profile = path[:1] == ("profiles",)
    match path[2:] if in_profile else path:
        case ("matrix" | "zip", str()) | ("exclude", int(), str()) | ("include", int(), "set", str()):
            return True
        case ("set", str()):
            return in_profile
    return False
