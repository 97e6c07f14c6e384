"""The problems of a task, read as lm-eval reads them but without importing it: in a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from evals.tasks.identity import task_functions, task_settings
from evals.tasks.row_sets import in_hub_cache
from evals.tasks.row_settings import TestRows


def read_problems(name: str, data_dir: str | None, rows: Mapping[str, TestRows]) -> dict[str, str] | str:
    """Return the texts of all problems of a task by id, or why they cannot be read here and now."""
    settings, functions = task_settings(name), task_functions(name)
    if not {"custom_dataset", "process_docs"} <= functions.keys():
        return "lm-eval itself loads them"
    given: dict[str, Any] = {**(settings.get("dataset_kwargs") or {}), **(settings.get("metadata") or {})}
    hub = given.get("hub")
    if hub and data_dir is None and not in_hub_cache(hub["path"], hub.get("revision")):
        return "they are not on this machine yet"
    if name in rows:
        given |= {"own_task": name, "rows": rows[name].model_dump(mode="json")}
    elif data_dir is not None:
        given["data_dir"] = Path(data_dir)
    try:
        raw = _function(functions["custom_dataset"])(**given)["test"]
        docs = _function(functions["process_docs"])(raw)
    except (OSError, ValueError, ImportError, KeyError) as error:
        return str(error).partition("\n")[0]
    return dict(zip(docs["id"], docs["problem"], strict=True))


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.rpartition(".")
    part: Callable[..., Any] = getattr(import_module(module), function)
    return part
