"""Check whether problems of an evaluation occur among the rows that a model is trained on.

Two texts overlap if they share 13 consecutive words or numbers, regardless of case and of the signs between them. GPT-3
chose this length (arXiv 2005.14165, appendix C), and the field has kept it (lm-eval's decontamination, Qwen2.5-Math).
Shorter matches are caused by common phrases ("how many of them are left at the end of the day"); longer matches miss a
problem with one changed number. A problem of fewer than 13 words overlaps only if it is a whole training text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from evals.tasks.identity import list_task_functions, read_task_settings
from evals.tasks.row_sets import is_in_hub_cache
from evals.tasks.row_settings import TestRows

LENGTH = 13
"""Number of consecutive words or numbers."""

_WORD = re.compile(r"[^\W\d_]+|\d+")
_BLANK = re.compile(r"[\s$]+")


def find_overlaps(training: Iterable[str], problems: Mapping[str, str]) -> dict[str, int]:
    """Return the problems that share words with a training text, with the index of the first such text.

    Returns:
        Id of a problem to the index of a training text.
    """
    owners: dict[str, list[str]] = {}
    for name, text in problems.items():
        for part in _split_parts(text, alone=False):
            owners.setdefault(part, []).append(name)
    overlaps: dict[str, int] = {}
    for number, text in enumerate(training):
        for part in _split_parts(text, alone=True):
            for name in owners.get(part, ()):
                overlaps.setdefault(name, number)
    return overlaps


def _split_parts(text: str, *, alone: bool) -> Iterator[str]:
    """Yield every run of `LENGTH` words of a text; also the whole text if it is shorter, or if `alone` is True."""
    words = _WORD.findall(text.lower())
    if alone or len(words) < LENGTH:
        yield f"={_BLANK.sub('', text.lower())}"
    for start in range(len(words) - LENGTH + 1):
        yield " ".join(words[start : start + LENGTH])


def read_problems(name: str, data_dir: str | None, rows: Mapping[str, TestRows]) -> dict[str, str] | str:
    """Return the texts of all problems of a task by id, or the reason why they cannot be read immediately.

    They are read in the same way as by lm-eval, but without importing it, which is fast.
    """
    settings, functions = read_task_settings(name), list_task_functions(name)
    if not {"custom_dataset", "process_docs"} <= functions.keys():
        return "lm-eval itself loads them"
    given: dict[str, Any] = {**(settings.get("dataset_kwargs") or {}), **(settings.get("metadata") or {})}
    hub = given.get("hub")
    if hub and data_dir is None and not is_in_hub_cache(hub["path"], hub.get("revision")):
        return "they are not on this machine yet"
    if name in rows:
        given |= {"own_task": name, "rows": rows[name].model_dump(mode="json")}
    elif data_dir is not None:
        given["data_dir"] = Path(data_dir)
    try:
        raw = resolve_name(functions["custom_dataset"])(**given)["test"]
        docs = resolve_name(functions["process_docs"])(raw)
    except (OSError, ValueError, ImportError, KeyError) as error:
        return str(error).partition("\n")[0]
    return dict(zip(docs["id"], docs["problem"], strict=True))
