"""Find a model: a folder or a repository with a complete model, or with a LoRA adapter on a base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from evals.fingerprint import (
    ADAPTER,
    ModelFolderError,
    fingerprint_adapter,
    fingerprint_weights,
    is_adapter,
    read_adapter_settings,
)
from evals.models.base import ModelError

_SHOWN = 400
_NEEDLESS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.h5", "*.msgpack", "original/*", "onnx/*")
"""Files of a repository that contain the same weights in another format."""
CONFIG = "config.json"


@dataclass(frozen=True)
class ModelFolders:
    """The folders of a model (for an adapter, of its base), tokenizer and adapter; id and commit of a repository."""

    model: str
    tokenizer: str
    adapter: Path | None = None
    repository: tuple[str, str] | None = None

    @property
    def rank(self) -> int | None:
        """Rank of the adapter."""
        return None if self.adapter is None else int(read_adapter_settings(self.adapter)["r"])

    def identity(self) -> dict[str, Any]:
        """Return the identity of the weights: fingerprints of folders, commits of repositories."""
        if self.repository is None:
            identity: dict[str, Any] = {"weights": fingerprint_weights(Path(self.model))}
        else:
            identity = dict(zip(("model", "revision"), self.repository, strict=True))
        return identity if self.adapter is None else {**identity, "adapter": fingerprint_adapter(self.adapter)}


def locate(model: str, revision: str | None) -> ModelFolders:
    """Find a model: a folder, or a repository, which is downloaded first.

    All parts are then loaded from the folder, so that all have the same revision.

    Raises:
        ModelError: The folder or repository does not exist, or contains no model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise ModelError(f"revision {revision!r} is for a repository, and {model} is a folder; leave it out")
        return _read_folder(folder)
    if folder.exists() or model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ModelError(f"there is no folder {model}; name a model's folder or a repository id")
    snapshot = fetch_snapshot(model, revision)
    place = _read_folder(snapshot)
    # An adapter is identified by its content, regardless of its location.
    return place if place.adapter else replace(place, repository=(model, snapshot.name))


def fetch_snapshot(repository: str, revision: str | None) -> Path:
    """Return the folder of a repository's files at a revision, from the hub or its cache.

    Raises:
        ModelError: Neither the hub nor its cache provides the files.
    """
    with convert_errors(repository):
        folder = _download(repository, revision, _NEEDLESS)
        # Older repositories contain only *.bin.
        return _download(repository, revision, _NEEDLESS[1:]) if lacks_weights(folder) else folder


def _download(repository: str, revision: str | None, needless: Sequence[str]) -> Path:
    """Return the folder of a snapshot; the cached one if the hub does not respond."""
    from huggingface_hub import snapshot_download

    download = partial(snapshot_download, repository, revision=revision, ignore_patterns=list(needless))
    try:
        return Path(download())
    except Exception as error:
        try:
            return Path(download(local_files_only=True))
        except Exception:  # the first error gives the reason
            raise error from None


@contextmanager
def convert_errors(model: str) -> Iterator[None]:
    """Convert any error to a `ModelError` that names the model.

    Raises:
        ModelError: Any error occurred inside.
    """
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:_SHOWN]
        raise ModelError(
            f"model {model!r} cannot be opened: {type(error).__name__}: {reason}; name a folder that holds a model, "
            "or a repository id of the hub that can be reached from here or is in its cache"
        ) from error


def _read_folder(folder: Path) -> ModelFolders:
    if is_adapter(folder):
        return _locate_base(folder)
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{folder} holds neither {CONFIG} (a model) nor {ADAPTER} (a LoRA adapter)")
    if lacks_weights(folder):
        raise ModelError(f"{folder} holds no weights (*.safetensors or *.bin); name the folder that does")
    return ModelFolders(str(folder), str(folder))


def lacks_weights(folder: Path) -> bool:
    """Return whether a folder has no weight files."""
    return not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin"))


def _locate_base(folder: Path) -> ModelFolders:
    try:
        settings = read_adapter_settings(folder)
    except ModelFolderError as error:
        raise ModelError(str(error)) from None
    base = settings.get("base_model_name_or_path")
    way_out = f"write the base's folder or repository id as base_model_name_or_path into {folder / ADAPTER}"
    if not base:
        raise ModelError(f"the adapter {folder} names no base model; {way_out}")
    try:
        place = locate(str(base), settings.get("revision"))
    except ModelError as error:
        raise ModelError(f"the base {base!r} of the adapter {folder} is not there: {error}; {way_out}") from None
    own_tokenizer = (folder / "tokenizer_config.json").is_file()
    return replace(place, tokenizer=str(folder) if own_tokenizer else place.tokenizer, adapter=folder)
