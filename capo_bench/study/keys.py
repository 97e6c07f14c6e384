"""Keys of nested settings: dotted names, lookup, known keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from capo_bench.study.yamlfile import Tree, TreePath
from evals.registry import find_nearest

Models = Sequence[type[BaseModel]]


def set_value(tree: dict[str, Any], parts: Sequence[str], value: Tree) -> dict[str, Any]:
    """Return a copy of `tree` with a new value at a dotted key; missing levels are created."""
    head, *rest = parts
    if not rest:
        return {**tree, head: value}
    below = tree.get(head)
    return {**tree, head: set_value(below if isinstance(below, dict) else {}, rest, value)}


def get_value(tree: Tree, path: Sequence[str | int]) -> Tree:
    """Return the value at a path; None if there is none."""
    for part in path:
        if not _has_part(tree, part):
            return None
        tree = tree[part]
    return tree


def _has_part(tree: Tree, part: str | int) -> bool:
    return part in tree if isinstance(tree, dict) else isinstance(tree, list) and isinstance(part, int)


def remove_value(tree: Tree, path: TreePath) -> Tree:
    """Return a copy of `tree` without the value at `path`; the same tree if there is no such value."""
    head, rest = path[0], path[1:]
    if isinstance(tree, dict) and head in tree:
        rest_of = {key: value for key, value in tree.items() if key != head}
        return {**rest_of, head: remove_value(tree[head], rest)} if rest else rest_of
    if isinstance(tree, list) and isinstance(head, int) and head < len(tree):
        kept = [remove_value(tree[head], rest)] if rest else []
        return [*tree[:head], *kept, *tree[head + 1 :]]
    return tree


def select_present(tree: Tree, path: TreePath, *, last: bool) -> TreePath:
    """Return the parts of a pydantic error location that exist in `tree`.

    A location also contains the member of a union that was tried, which the file does not have. With `last`, the last
    part of the location is kept even if it does not exist.
    """
    kept: list[str | int] = []
    for index, part in enumerate(path):
        if _has_part(tree, part):
            tree = tree[part]
        elif not (last and index == len(path) - 1):
            continue
        kept.append(part)
    return tuple(kept)


def list_models(annotation: object) -> list[type[BaseModel]]:
    """Return the models that an annotation names, including those in unions and containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in list_models(part)]


def list_known_keys(models: Models, path: TreePath) -> list[str]:
    """Return the keys that the section at `path` may contain; empty if any key is allowed."""
    for part in path:
        below = [model.model_fields[part].annotation for model in models if part in model.model_fields]
        named = [
            model
            for model in models
            if "name" in model.model_fields and part in get_args(model.model_fields["name"].annotation)
        ]
        models = [model for annotation in below for model in list_models(annotation)] if below else named or models
    return list(dict.fromkeys(info.alias or name for model in models for name, info in model.model_fields.items()))


@cache
def list_dotted_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Return every dotted key of a model: its sections and the fields in them."""
    return tuple(dict.fromkeys(_list_dotted([model], "")))


def _list_dotted(models: Models, prefix: str) -> Iterator[str]:
    for model in models:
        for name, info in model.model_fields.items():
            yield prefix + name
            yield from _list_dotted(list_models(info.annotation), f"{prefix}{name}.")


def suggest_key(key: str, allowed: Iterable[str]) -> str:
    """Return the way out for an unknown key: the nearest known key, or the list of known keys."""
    allowed = list(allowed)
    close = find_nearest(key, allowed)
    if not close:
        close = [name for name in allowed if name.rpartition(".")[2] == key.rpartition(".")[2]]
    return f"(did you mean {close[0]!r}?)" if close else f"known keys: {', '.join(allowed)}"
