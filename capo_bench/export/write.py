"""Write a trial's policy and samples to two folders in the hub's format, and upload them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from capo_bench.export.cards import read_left, write_dataset_card, write_model_card
from capo_bench.store.errors import RunError
from capo_bench.store.home import TrialFolder
from evals.files import open_for_writing, write_atomic

WEIGHTS = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Suffixes of exported model files; files that are read by unpickling are excluded."""


@dataclass(frozen=True)
class Exported:
    """The two exported folders; None if the trial has no model or no samples."""

    model: Path | None
    dataset: Path | None


def export_trial(folder: TrialFolder, out: Path) -> Exported:
    """Write a finished trial to ``out/model`` and ``out/dataset``, each with its card.

    Files of an earlier export are replaced.

    Raises:
        RunError: The trial has not finished, or its files are damaged.
        OSError: The folder cannot be written.
    """
    if not folder.done:
        raise RunError(f"trial {folder.path.name} has not finished; run its study first")
    try:
        left = read_left(folder)
        parts = dict(_list_parts(folder))
        model = _copy_weights(folder, out / "model") if folder.model.is_dir() else None
        if model is not None:
            write_atomic(model / "README.md", write_model_card(left))
        if not parts:
            return Exported(model, None)
        data = out / "dataset"
        rows = {name: _write_lines(data / f"{name}.jsonl", lines) for name, lines in parts.items()}
        write_atomic(data / "README.md", write_dataset_card(left, {name: f"{name}.jsonl" for name in parts}, rows))
    except (ValueError, KeyError, TypeError, EOFError, gzip.BadGzipFile) as error:
        raise RunError(f"{folder.path}: cannot be exported: {error}") from error
    return Exported(model, data)


def push(exported: Exported, repository: str, *, private: bool) -> list[str]:
    """Upload an export to the hub, the data set as ``REPOSITORY-rollouts``; return the addresses.

    The token is taken from the environment (HF_TOKEN), as is the address of the hub (HF_ENDPOINT).

    Raises:
        RunError: The hub refuses the upload or cannot be reached.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN"))
    kinds = (("model", repository, exported.model), ("dataset", f"{repository}-rollouts", exported.dataset))
    made = []
    for kind, name, folder in kinds:
        if folder is None:
            continue
        try:
            api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, repo_type=kind, folder_path=folder, commit_message="capo-bench export")
        except (HTTPError, OSError, ValueError) as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise RunError(
                f"{name}: the hub did not take it ({type(error).__name__}: {first}); set HF_TOKEN to a key that may "
                f"write there, or upload {folder} by hand"
            ) from error
        made.append(f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}")
    return made


def _copy_weights(folder: TrialFolder, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.model.iterdir()):
        if path.is_file() and path.suffix in WEIGHTS and not path.is_symlink():
            with path.open("rb") as source, open_for_writing(out / path.name) as target:
                shutil.copyfileobj(source, target)
    return out


def _list_parts(folder: TrialFolder) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield each part of the data set with its lines: the rollouts, and the samples of each task."""
    rollouts = sorted(folder.rollouts.glob("*.jsonl.gz"))
    if rollouts:
        yield "rollouts", _unpack(rollouts)
    for path in sorted(folder.evaluation.glob("*/samples.jsonl")):
        yield f"samples_{path.parent.name}", iter(path.read_text(encoding="utf-8").splitlines())


def _unpack(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        with gzip.open(path, "rt", encoding="ascii") as file:
            yield from (line.rstrip("\n") for line in file)


def _write_lines(path: Path, lines: Iterator[str]) -> int:
    """Write lines with secrets removed, holding one in memory at a time; return their number."""
    from capo_bench.track.redact import redact

    count = 0
    with open_for_writing(path) as file:
        for line in lines:
            json.loads(line)  # an incomplete line raises ValueError
            file.write(redact(line).encode() + b"\n")
            count += 1
    return count
