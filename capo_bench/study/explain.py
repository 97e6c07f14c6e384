"""Convert pydantic's errors to study errors with the place, the value, the rule and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from capo_bench.study.errors import Place, StudyError, format_value
from capo_bench.study.keys import Models, list_known_keys, select_present, suggest_key
from capo_bench.study.yamlfile import Tree, TreePath

Locate = Callable[[TreePath], Place]

_WAYS_OUT = {
    "int": "write a whole number",
    "float": "write a number",
    "string": "write text; quote it if it looks like a number",
    "string_pattern_mismatch": "write it as the pattern wants",
    "bool": "write true or false",
    "list": "write a list, e.g. [a, b]",
    "tuple": "write a list, e.g. [2, 6]",
    "dict": "write keys and values under it",
    "model": "write keys and values under it",
    "greater": "choose a value within the bound",
    "less": "choose a value within the bound",
    "literal": "choose one of them",
    "too": "give as many items as it takes",
}

_SUBJECT = re.compile(r"^\w+ should")


def explain(error: ValidationError, tree: Tree, models: Models, locate: Locate) -> list[tuple[TreePath, StudyError]]:
    """Return each error of a validation with its path in `tree`.

    `models` are the validated models, which provide the known keys. `locate` returns the place where a path was
    written.
    """
    errors = []
    for detail in error.errors(include_url=False):
        path = select_present(tree, detail["loc"], last=detail["type"] in {"extra_forbidden", "missing"})
        errors.append((path, StudyError(locate(path), *_describe(dict(detail), path, models))))
    return errors


def format_path(path: TreePath) -> str:
    """Return a path as it appears in errors: ``include[2].set``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _describe(detail: dict[str, Any], path: TreePath, models: Models) -> tuple[str, str]:
    kind, where, context = detail["type"], format_path(path), detail.get("ctx", {})
    if kind == "extra_forbidden":
        keys = list_known_keys(models, detail["loc"][:-1])
        under = f" under {format_path(path[:-1])!r}" if len(path) > 1 else ""
        return f"unknown key {path[-1]!r}{under}", suggest_key(str(path[-1]), keys)
    if kind == "missing":
        under = f" under {format_path(path[:-1])!r}" if len(path) > 1 else ""
        return f"key {path[-1]!r} is missing{under}", "add it"
    if kind == "value_error":
        rule, _, way_out = str(context["error"]).partition("; ")
        return f"{where}: {rule}", way_out
    if kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "").split(", ")
        hint = suggest_key(context["tag"], tags).replace("known keys", "known names")
        return f"{where}: unknown name {context['tag']!r}", hint
    if kind == "union_tag_not_found":
        return f"{where} is {format_value(detail['input'])} but has no name", "add 'name:', which says what it is"
    must = _SUBJECT.sub("should", detail["msg"]).partition(" after validation")[0]
    way_out = _WAYS_OUT.get(kind) or _WAYS_OUT.get(kind.partition("_")[0]) or "correct the value"
    return f"{where} is {format_value(detail['input'])} but {must}", way_out
