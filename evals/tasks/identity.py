"""Determine what affects a task's problems and prompts, without loading the problems. This module is light."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from evals.definitions import Definitions, read_installed
from evals.sources import Modules
from evals.tasks import find_task_file
from evals.verify.answers import DEFAULT_STYLE


@dataclass(frozen=True)
class _Function:
    """A function that a task's YAML names, as ``package.module.name``."""

    name: str


class _Loader(yaml.SafeLoader):
    """Loads a task's YAML without lm-eval's imports: a function is represented by its name."""


_Loader.add_constructor("!function", lambda loader, node: _Function(str(node.value)))


@dataclass(frozen=True)
class Drawn:
    """Settings of the sampled answers that a task requests in addition to the greedy one.

    Attributes:
        samples: k, the number per problem; 0 if the task itself requests none.
        temperature: Sampling temperature; 1 if the task sets none, for a user who requests samples.
        top_p: Share of the probability mass that is sampled from.
    """

    samples: int
    temperature: float
    top_p: float


def describe_sampled(repeats: int, generation: Mapping[str, Any]) -> Drawn:
    """Return what a task samples: `repeats` answers if its ``generation_kwargs`` set ``do_sample``, else none."""
    if not generation.get("do_sample"):
        return Drawn(0, 1.0, 1.0)
    return Drawn(repeats, generation["temperature"], generation["top_p"])


@cache
def find_task_draws(name: str) -> Drawn:
    """Return what a task samples, without loading its problems."""
    settings = read_task_settings(name)
    return describe_sampled(settings.get("repeats", 1), settings.get("generation_kwargs") or {})


def identify_task(name: str, data_dir: Path | None) -> dict[str, Any]:
    """Return hashes of a task's settings, of the functions that they name, and of problems in `data_dir`.

    Raises:
        DefinitionError: A function has no source code.
    """
    settings = read_task_settings(name)
    folder = settings.get("dataset_kwargs", {}).get("folder")
    beside = find_task_file(name).parent
    identity = {
        "settings": _hash(json.dumps(settings, sort_keys=True, default=lambda _: "function").encode()),
        "code": {
            key: _hash_function(value.name, beside)
            for key, value in settings.items()
            if isinstance(value, _Function) and key != "process_results"  # only lm-eval's scoring uses it
        },
    }
    if data_dir is not None and folder is not None:
        files = sorted(path for path in (data_dir / folder).glob("**/*") if path.is_file())
        identity["data"] = _hash(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files))
    return identity


@cache
def find_task_checker(name: str) -> str | None:
    """Return the benchmark that checks the steps of a task's solutions; None if there is none."""
    checker = read_task_settings(name).get("metadata", {}).get("checker")
    return None if checker is None else str(checker)


@cache
def find_task_answers(name: str) -> str:
    """Return where an answer may be in a completion, if the user does not set it."""
    return str(read_task_settings(name).get("metadata", {}).get("answers", DEFAULT_STYLE))


def read_task_settings(name: str) -> dict[str, Any]:
    """Return the settings of a task's YAML, including those of the files that it includes."""
    return _read_settings(find_task_file(name))


def list_task_functions(name: str) -> dict[str, str]:
    """Return the functions that a task's YAML names, by their key, each as ``package.module.name``."""
    return {key: value.name for key, value in read_task_settings(name).items() if isinstance(value, _Function)}


def _hash_function(name: str, folder: Path) -> str:
    module, _, function = name.rpartition(".")
    # lm-eval first looks next to the YAML.
    beside = (folder / f"{module.replace('.', '/')}.py").is_file()
    return (Definitions(Modules(folder)) if beside else read_installed()).closure(f"{module}:{function}").hash


def _read_settings(path: Path) -> dict[str, Any]:
    """Return the settings of a YAML merged with those of included files, as lm-eval merges them."""
    own: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader with one tag more
    included = own.pop("include", [])
    merged: dict[str, Any] = {}
    for name in [included] if isinstance(included, str) else included:
        merged |= _read_settings(path.parent / name)
    return merged | own


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]
