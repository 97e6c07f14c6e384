"""Compute short content hashes of models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_SETTINGS = (
    *("config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json"),
    *("vocab*", "merges.txt", "*.model", "*.tiktoken", "tekken.json", "chat_template*", "*.jinja"),
    "additional_chat_templates/*",
)
"""Files that affect what a model reads and writes, in addition to the weights."""

ADAPTER = "adapter_config.json"
"""The file that marks a folder as a LoRA adapter."""


def fingerprint_weights(folder: Path) -> str | None:
    """Return a short content hash of the weight files of a model folder; None if there are none."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12] if files else None


def fingerprint_settings(folder: Path) -> str:
    """Return a short content hash of a model's settings, tokenizer and template.

    An adapter's own settings are part of `fingerprint_adapter`, which leaves out the path of its base.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _SETTINGS for path in folder.glob(pattern) if path.is_file()}):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(json.dumps([path.relative_to(folder).as_posix(), content]).encode())
    return digest.hexdigest()[:12]


def fingerprint_adapter(folder: Path) -> str:
    """Return a short content hash of a LoRA adapter: its weights, and its settings without the path of its base."""
    settings = read_adapter_settings(folder)
    settings.pop("base_model_name_or_path", None)
    whole = [fingerprint_weights(folder), settings]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]


def fingerprint_model(folder: Path) -> str | None:
    """Return a short content hash of the weights in a folder, of a model or of an adapter; None if there are none."""
    return fingerprint_adapter(folder) if is_adapter(folder) else fingerprint_weights(folder)


def is_adapter(folder: Path) -> bool:
    """Return whether a folder contains an adapter and no complete model."""
    return (folder / ADAPTER).is_file()


class ModelFolderError(ValueError):
    """The model in a folder cannot be identified by its content."""

    def __init__(self, rule: str, way_out: str) -> None:
        super().__init__(f"{rule}; {way_out}")
        self.rule, self.way_out = rule, way_out


def identify_folder(folder: Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the identity of a model in a folder, by content: weights, tokenizer, chat template, generation settings.

    A LoRA adapter's identity includes its base: a folder by content, a repository by name and revision.

    Args:
        folder: Folder of the model.
        above: Folders of the adapters on this model, to detect a cycle.

    Raises:
        ModelFolderError: An adapter's settings cannot be read, or adapters are each other's base.
    """
    files = {"weights": fingerprint_weights(folder), "settings": fingerprint_settings(folder)}
    if not is_adapter(folder):
        return files
    settings, here = read_adapter_settings(folder), folder.resolve()
    if here in above:
        raise ModelFolderError(f"{folder / ADAPTER} names itself as its base", "name a base model there")
    base = settings.get("base_model_name_or_path")
    rests_on: Any = {"model": base, "revision": settings.get("revision")}
    if isinstance(base, str) and Path(base).is_dir():
        rests_on = identify_folder(Path(base), above=(*above, here))
    return {**files, "weights": fingerprint_adapter(folder), "base": rests_on}


def read_adapter_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of an adapter; raise `ModelFolderError` if they cannot be read."""
    path = folder / ADAPTER
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read ({error})", "write the adapter's settings again") from error
    if not isinstance(settings, dict):
        raise ModelFolderError(f"{path} holds no JSON object", "write the adapter's settings again")
    return settings
