"""The list of all that a bundle holds: the first file in it, so that nothing is unpacked that it does not name.

A bundle's paths are those of a results folder, so what is unpacked is one. The manifest guards against damage and
against a file that was changed alone. It is not signed: who wants to know that a bundle is the one that was published
compares the archive's own sha256, which `capo-bench bundle` prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, get_args

from capo_bench.bundle.errors import BundleError
from capo_bench.study.identity import SharedKind

FORMAT = 1
"""Of bundles; raised when older readers would misread a newer one."""

NAME = "bundle.json"
PLAN, STUDY_FILE = "plan.json", "study.yaml"

_STUDY = re.compile(r"[^/\x00-\x1f\\]+")
_PLACES = re.compile(rf"trials/[0-9a-f]{{12}}/.+|cache/(?:stages|{'|'.join(get_args(SharedKind))})/.+")


@dataclass(frozen=True)
class Listed:
    """One file of a bundle.

    Attributes:
        path: Where it lies in a results folder.
        size: In bytes.
        sha256: Of its content.
        blotted: Whether something was taken out of it that looked like a secret.
    """

    path: str
    size: int
    sha256: str
    blotted: bool = False


@dataclass(frozen=True)
class Manifest:
    """What a bundle is.

    Attributes:
        study: Name of the study.
        profile: Its profile.
        sets: What ``--set`` was given.
        only: What ``--only`` was given.
        origin: Version and commit of the capo-bench that wrote it, a fingerprint of its code, and what draws figures.
        weights: Whether weights and shared models are in it.
        finished: Ids of the trials that are in it.
        owed: Ids of the trials of the plan that are not: they had not finished.
        files: All files but the manifest, by path.
    """

    study: str
    profile: str
    sets: tuple[str, ...]
    only: tuple[str, ...]
    origin: dict[str, Any]
    weights: bool
    finished: tuple[str, ...]
    owed: tuple[str, ...]
    files: tuple[Listed, ...]

    @property
    def path(self) -> str:
        """Its own place in the bundle."""
        return study_path(self.study, NAME)

    def dump(self) -> bytes:
        """Return it as it is written."""
        value = {"format": FORMAT, **asdict(self)}
        return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def study_path(study: str, *parts: str) -> str:
    """Return the place of a study's file in a results folder."""
    return "/".join(["studies", study, *parts])


def load_manifest(data: bytes, path: str) -> Manifest:
    """Read a manifest.

    Args:
        data: What was read.
        path: Its place in the bundle.

    Raises:
        BundleError: It is none, of another format, or names a file that has no place in a results folder.
    """
    try:
        value = json.loads(data)
        found = value.pop("format")
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: no manifest of a bundle ({error!r}); get the bundle again") from error
    if found != FORMAT:
        raise BundleError(f"{path}: a bundle of format {found!r}; this capo-bench reads {FORMAT}: use the one it is of")
    try:
        files = tuple(Listed(**one) for one in value.pop("files"))
        lists = {name: tuple(map(str, value.pop(name))) for name in ("sets", "only", "finished", "owed")}
        manifest = Manifest(**{**value, **lists, "files": files})
        _check(manifest, path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: no manifest of a bundle ({error}); get the bundle again") from error
    return manifest


def _check(manifest: Manifest, path: str) -> None:
    if path != manifest.path:
        raise ValueError(f"it is of study {manifest.study!r}")
    bad = [one for one in (*manifest.finished, *manifest.owed) if not re.fullmatch(r"[0-9a-f]{12}", one)]
    if bad:
        raise ValueError(f"{bad[0]!r} is no id of a trial")
    for one in manifest.files:
        if type(one.size) is not int or one.size < 0:
            raise ValueError(f"{one.path}: a size of {one.size!r}")
    if flaws := bad_paths(manifest.study, [one.path for one in manifest.files]):
        raise ValueError("; ".join(flaws[:5]))


def bad_paths(study: str, paths: Iterable[str]) -> list[str]:
    """Return what is wrong with paths that must all be of a study, its trials or what these share; each only once."""
    if not _STUDY.fullmatch(study) or study in {".", ".."}:
        return [f"{study!r} is no name of a study"]
    seen, flaws = set[str](), []
    for path in paths:
        plain = PurePosixPath(path)
        inside = path.startswith(study_path(study, "")) or _PLACES.fullmatch(path)
        if str(plain) != path or ".." in plain.parts or "\\" in path or not path.isprintable() or not inside:
            flaws.append(f"{path!r} leads out of the study's results")
        elif path in seen:
            flaws.append(f"{path!r} is there twice")
        seen.add(path)
    return flaws
