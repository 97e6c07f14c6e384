"""Short content hashes of models."""

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
"""What beside the weights of a model decides what it reads and writes."""

ADAPTER = "adapter_config.json"
"""The file that makes a folder one of a LoRA adapter."""


def weights_fingerprint(folder: Path) -> str | None:
    """Return a short content hash of the weight files of a model folder; None if it holds none."""
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12] if files else None


def settings_fingerprint(folder: Path) -> str:
    """Return a short content hash of what lies beside the weights and decides answers: settings, tokenizer, template.

    An adapter's own settings are part of `adapter_fingerprint`, which knows what of them is only a place.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _SETTINGS for path in folder.glob(pattern) if path.is_file()}):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(json.dumps([path.relative_to(folder).as_posix(), content]).encode())
    return digest.hexdigest()[:12]


def adapter_fingerprint(folder: Path) -> str:
    """Return a short content hash of a LoRA adapter: its weights, and its settings but for the place of its base."""
    settings = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
    settings.pop("base_model_name_or_path", None)
    whole = [weights_fingerprint(folder), settings]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]


def model_fingerprint(folder: Path) -> str | None:
    """Return a short content hash of what a folder holds of a model's weights, all or an adapter; None if nothing."""
    return adapter_fingerprint(folder) if is_adapter(folder) else weights_fingerprint(folder)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, which rests on a base, and no whole model."""
    return (folder / ADAPTER).is_file()


class ModelFolderError(ValueError):
    """A folder that holds no model that can be known by its content.

    Args:
        rule: What is wrong with which file.
        way_out: What to do about it.
    """

    def __init__(self, rule: str, way_out: str) -> None:
        super().__init__(f"{rule}; {way_out}")
        self.rule, self.way_out = rule, way_out


def folder_identity(folder: Path, *, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a model in a folder is, by content: weights, tokenizer, chat template and settings of generation.

    Of a LoRA adapter also what it rests on: a folder by content, a repository by name and revision.

    Args:
        folder: The folder.
        above: Folders of the adapters that rest on it.

    Raises:
        ModelFolderError: An adapter's settings cannot be read, or adapters rest on one another.
    """
    files = {"weights": weights_fingerprint(folder), "settings": settings_fingerprint(folder)}
    if not is_adapter(folder):
        return files
    settings, here = _adapter_settings(folder), folder.resolve()
    if here in above:
        raise ModelFolderError(f"{folder / ADAPTER} rests on itself", "name a base model there")
    base = settings.get("base_model_name_or_path")
    rests_on: Any = {"model": base, "revision": settings.get("revision")}
    if isinstance(base, str) and Path(base).is_dir():
        rests_on = folder_identity(Path(base), above=(*above, here))
    return {**files, "weights": adapter_fingerprint(folder), "base": rests_on}


def _adapter_settings(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read ({error})", "write the adapter's settings again") from error
    if not isinstance(settings, dict):
        raise ModelFolderError(f"{path} holds no JSON object", "write the adapter's settings again")
    return settings
