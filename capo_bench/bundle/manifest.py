"""The manifest of a bundle: its first file.

A bundle has the layout of a results folder. Trials, stages and the study have lists of checksums of their files.
Nothing is signed: to check that a bundle is the published one, compare the archive's sha256, which `capo-bench bundle`
prints.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from pydantic import JsonValue, ValidationError

from capo_bench.store.errors import RunError
from capo_bench.store.home import StageKind, encode_json
from evals.settings import Strict

NAME = "bundle.json"
MOST_MANIFEST = 2**20
"""Largest size of a manifest in bytes."""

_MOST_PATH = 255
_STUDY = re.compile(r"[^/\x00-\x1f\\]+")
_PLACES = re.compile(rf"(?:trials|stages/(?:{'|'.join(get_args(StageKind))}))/[0-9a-f]{{12}}/.+")


class BundleError(RunError):
    """A bundle cannot be written, read or unpacked; each line names the file, the cause and the way out."""


class Manifest(Strict):
    """The content of a bundle's manifest.

    Attributes:
        format: Number of the format; it is raised when older readers would misread a newer bundle.
        study: Name of the study.
        profile: Profile of the study.
        sets: Values of ``--set``.
        only: Values of ``--only``.
        origin: Version, commit and hash of the code of the capo-bench that wrote the bundle.
    """

    format: Literal[4] = 4
    study: str
    profile: str
    sets: list[str]
    only: list[str]
    origin: dict[str, JsonValue]

    @property
    def path(self) -> str:
        """Path of the manifest in the bundle."""
        return f"studies/{self.study}/{NAME}"

    def dump(self) -> bytes:
        """Return the manifest as bytes of JSON."""
        return encode_json(self.model_dump(mode="json"))


def load_manifest(data: bytes, path: str) -> Manifest:
    """Parse the manifest at a path of a bundle.

    Raises:
        BundleError: It is no manifest, has another format, or names a study that leads out of the folder.
    """
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        flaw: Any = error.errors(include_input=False, include_url=False)[0]
        problem = ": ".join([*map(str, flaw["loc"]), flaw["msg"]])
        raise BundleError(
            f"{path}: no manifest of a bundle that this capo-bench reads ({problem[:200]}); get the bundle again, or "
            "use the capo-bench that wrote it"
        ) from error
    if path != manifest.path:
        raise BundleError(f"{path}: no manifest of a bundle: it is of study {manifest.study!r}; get the bundle again")
    check_path(manifest.study, path)
    return manifest


def check_path(study: str, path: str) -> None:
    """Raise `BundleError` unless a path is in the folder of a study, a trial or a stage."""
    if not _STUDY.fullmatch(study) or study in {".", ".."}:
        raise BundleError(f"{study!r} is no name of a study")
    plain = PurePosixPath(path)
    inside = path.startswith(f"studies/{study}/") or _PLACES.fullmatch(path)
    long = len(path.encode(errors="replace")) > _MOST_PATH
    if long or str(plain) != path or ".." in plain.parts or "\\" in path or not path.isprintable() or not inside:
        raise BundleError(f"{path[:200]!r} leads out of the study's results")
