"""Whether the models of a plan say how they are talked to: a template that can be rendered, and what ends a turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from capo_bench.doctor.needs import Finding, HubItem, Needs
from evals.models.base import ModelError


def check_conventions(needs: Needs) -> list[Finding]:
    """Look at each model whose files are on this machine; no weights are loaded."""
    models = [item for item in needs.hub if item.kind == "model"]
    return [finding for item in models if (finding := _check(item)) is not None]


def _check(item: HubItem) -> Finding | None:
    from evals.models.conventions import read_conventions

    what = f"turns of {item.name}"
    try:
        files = _read(item)
    except (OSError, ValueError):  # not here yet, or no model: its own finding says so
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


def _read(item: HubItem) -> tuple[Any, Any, Any]:
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    where: dict[str, Any] = {"revision": item.revision, "local_files_only": True}
    name = str(Path(item.name).expanduser()) if Path(item.name).expanduser().is_dir() else item.name
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **where)
    settings: Any = GenerationConfig
    try:
        return tokenizer, config, settings.from_pretrained(name, **where)
    except OSError:  # a model need not recommend anything
        return tokenizer, config, None
