"""What a bundle is of: the first file in it.

A bundle's paths are those of a results folder, so what is unpacked is one. Trials, stages and the study have lists of
their files' checksums. Nothing is signed: who wants to know that a bundle is the one that was published compares the
archive's own sha256, which `capo-bench bundle` prints.
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
"""Bytes of a manifest: a report has tens of files, a study thousands of trials at most."""

_MOST_PATH = 255
_STUDY = re.compile(r"[^/\x00-\x1f\\]+")
_PLACES = re.compile(rf"(?:trials|stages/(?:{'|'.join(get_args(StageKind))}))/[0-9a-f]{{12}}/.+")


class BundleError(RunError):
    """A bundle cannot be written, read or unpacked; one thing a line: the file, the cause and the way out."""


class Manifest(Strict):
    """What a bundle is.

    Attributes:
        format: Raised when older readers would misread a newer bundle.
        study: Name of the study.
        profile: Its profile.
        sets: What ``--set`` was given.
        only: What ``--only`` was given.
        origin: Version and commit of the capo-bench that wrote it, a fingerprint of its code, and what draws figures.
    """

    format: Literal[4] = 4
    study: str
    profile: str
    sets: list[str]
    only: list[str]
    origin: dict[str, JsonValue]

    @property
    def path(self) -> str:
        """Its own place in the bundle."""
        return f"studies/{self.study}/{NAME}"

    def dump(self) -> bytes:
        """Return it as it is written."""
        return encode_json(self.model_dump(mode="json"))


def load_manifest(data: bytes, path: str) -> Manifest:
    """Read the manifest at a place in a bundle.

    Raises:
        BundleError: It is none, of another format, or of a study whose name leads out.
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
    """Raise `BundleError` unless a path is one of a study, of its trials or of what these share."""
    if not _STUDY.fullmatch(study) or study in {".", ".."}:
        raise BundleError(f"{study!r} is no name of a study")
    plain = PurePosixPath(path)
    inside = path.startswith(f"studies/{study}/") or _PLACES.fullmatch(path)
    long = len(path.encode(errors="replace")) > _MOST_PATH
    if long or str(plain) != path or ".." in plain.parts or "\\" in path or not path.isprintable() or not inside:
        raise BundleError(f"{path[:200]!r} leads out of the study's results")
