"""Check the versions of packages, and the chat conventions of models."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capo_bench.doctor.needs import Finding, HubItem, Needs
from evals.models.base import ModelError

_INSTALL = {"vllm": "pip install 'capo-bench[vllm]'", "deepspeed": "pip install deepspeed"}


def check_packages(needs: Needs) -> Iterator[Finding]:
    """Yield findings on the required packages and their versions, then on the additional packages of this study."""
    wrong = [trouble for trouble in map(_find_trouble, _list_required()) if trouble]
    if wrong:
        remedy = "install with the versions that are tested: pip install -c constraints.txt -e ."
        yield Finding("packages", "missing", "; ".join(wrong), remedy)
    else:
        yield Finding("packages", "ok", f"all {len(_list_required())} that capo-bench requires, in versions that fit")
    for name, why in needs.extras.items():
        installed = importlib.util.find_spec(name) is not None
        trouble = f"{'installed' if installed else 'not installed'}; asked for by {why}"
        yield Finding(f"package {name}", "ok" if installed else "missing", trouble, "" if installed else _INSTALL[name])


def _list_required() -> list[str]:
    try:
        listed = importlib.metadata.requires("capo-bench") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [requirement for requirement in listed if "extra ==" not in requirement]


def _find_trouble(requirement: str) -> str:
    """Return what is wrong with a requirement; empty if it is met."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    if wanted.marker is not None and not wanted.marker.evaluate():
        return ""
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    fits = wanted.specifier.contains(version, prereleases=True)
    return "" if fits else f"{wanted.name} is {version} where {wanted.specifier} is required"


def check_conventions(needs: Needs) -> list[Finding]:
    """Check the chat conventions of each model whose files are on this machine, without loading weights."""
    models = [item for item in needs.hub if item.kind == "model"]
    return [finding for item in models if (finding := _check(item)) is not None]


def _check(item: HubItem) -> Finding | None:
    from evals.models.conventions import read_conventions

    what = f"turns of {item.name}"
    try:
        files = _read_files(item)
    except (OSError, ValueError):  # not downloaded yet, or not a model; another finding reports it
        return None
    tokenizer, config, generation = files
    try:
        conventions = read_conventions("auto", config, generation, tokenizer)
    except ModelError as error:
        return Finding(what, "missing", str(error), "mend the model's files")
    if conventions.flaw is not None:
        return Finding(what, "warning", conventions.flaw, "mend chat_template.jinja or the special tokens of the model")
    ends = ", ".join(conventions.identity(tokenizer)["ends"])
    return Finding(what, "ok", f"template {conventions.template}; a turn ends with {ends}")


def _read_files(item: HubItem) -> tuple[Any, Any, Any]:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    where: dict[str, Any] = {"revision": item.revision, "local_files_only": True}
    name = str(Path(item.name).expanduser()) if Path(item.name).expanduser().is_dir() else item.name
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **where)
    settings: Any = GenerationConfig
    try:
        return tokenizer, config, settings.from_pretrained(name, **where)
    except OSError:  # generation settings are optional
        return tokenizer, config, None
