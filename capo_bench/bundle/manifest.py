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
from capo_bench.store.home import StageKind

FORMAT = 2
"""Of bundles; raised when older readers would misread a newer one."""

MOST_FILES = 150_000
MOST_MANIFEST = 2**25
"""Files and bytes of a manifest: as many as are read in less than 256 MiB of memory, whatever it holds."""

_MOST_VALUES, _MOST_LINE, _MOST_PATH = 6 * MOST_FILES, 2**18, 255
NAME = "bundle.json"

_STUDY = re.compile(r"[^/\x00-\x1f\\]+")
_PLACES = re.compile(rf"(?:trials|stages/(?:{'|'.join(get_args(StageKind))}))/[0-9a-f]{{12}}/.+")


@dataclass(frozen=True, slots=True)
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
        """Return it as it is written: what it is of, then a line for each file.

        Raises:
            BundleError: There are more files than anybody would unpack.
        """
        head = {key: value for key, value in vars(self).items() if key != "files"}
        first = json.dumps({"format": FORMAT, **head}, sort_keys=True)
        lines = [json.dumps(asdict(line), separators=(",", ":")) for line in self.files]
        data = "".join([first[:-1], ', "files": [\n', ",\n".join(lines), "\n]}\n"]).encode()
        if len(lines) > MOST_FILES or len(data) > MOST_MANIFEST:
            raise BundleError(
                f"{len(lines):,} files and a manifest of {len(data):,} bytes; at most {MOST_FILES:,} and "
                f"{MOST_MANIFEST:,} are unpacked: bundle fewer trials with --only"
            )
        return data


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
    _bound(data, path)
    try:
        value = json.loads(data.decode("ascii"), object_pairs_hook=_object)
        form = value.pop("format")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: no manifest of a bundle ({error!r}); get the bundle again") from error
    if form != FORMAT:
        raise BundleError(f"{path}: a bundle of format {form!r}; this capo-bench reads {FORMAT}: use the one it is of")
    try:
        files = tuple(value.pop("files"))
        lists = {name: tuple(map(str, value.pop(name))) for name in ("sets", "only", "finished", "owed")}
        manifest = Manifest(**{**value, **lists, "files": files})
        _check(manifest, path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: no manifest of a bundle ({error}); get the bundle again") from error
    return manifest


def _bound(data: bytes, path: str) -> None:
    """Refuse what would take more memory than a manifest does: many small values, or long texts of wide characters."""
    values, lines = sum(data.count(sign) for sign in (b",", b"[", b"{")), data.count(b"\n")
    if values > _MOST_VALUES or lines > MOST_FILES + 2 or max(map(len, data.split(b"\n"))) > _MOST_LINE:
        raise BundleError(f"{path}: a manifest of {values:,} values in {lines:,} lines; none is so large")


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """Return an object of a manifest; a file's line becomes `Listed` at once, which takes less memory."""
    value = dict(pairs)
    return Listed(**value) if "sha256" in value else value


def _check(manifest: Manifest, path: str) -> None:
    if path != manifest.path:
        raise ValueError(f"it is of study {manifest.study!r}")
    bad = [one for one in (*manifest.finished, *manifest.owed) if not re.fullmatch(r"[0-9a-f]{12}", one)]
    if bad:
        raise ValueError(f"{bad[0]!r} is no id of a trial")
    for line in manifest.files:
        if not isinstance(line, Listed) or type(line.size) is not int or not 0 <= line.size < 2**63:
            raise ValueError(f"no line of a file: {str(line)[:100]!r}")
        if type(line.path) is not str or type(line.sha256) is not str:
            raise ValueError(f"no path and hash: {str(line)[:100]!r}")
    for name, kind in (("study", str), ("profile", str), ("origin", dict)):
        if type(getattr(manifest, name)) is not kind:
            raise ValueError(f"{name} is of another type than {kind.__name__}")
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
        long = len(path.encode(errors="replace")) > _MOST_PATH
        if long or str(plain) != path or ".." in plain.parts or "\\" in path or not path.isprintable() or not inside:
            flaws.append(f"{path[:200]!r} leads out of the study's results")
        elif path in seen:
            flaws.append(f"{path!r} is there twice")
        seen.add(path)
    return flaws
