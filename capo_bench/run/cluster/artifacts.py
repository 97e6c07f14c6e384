"""Folders kept in an object store, or in any other place that fsspec knows.

A folder is what its manifest names: files are put first, the manifest last and whole, and what is not in it is not
there for a reader. So a machine that is lost while it pushes leaves the folder as it was after the push before.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from capo_bench.run.errors import RunError
from capo_bench.track.redact import redact

MANIFEST = ".pushed.json"
TRIES = 5
FIRST_WAIT_SECONDS = 1.0

# Of these a put is atomic; elsewhere a file is put under another name and renamed.
_ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"}
_LAST = "metrics.json"
_PASSES = 20

Stamp = tuple[int, int]
T = TypeVar("T")


class StoreError(ConnectionError):
    """The store cannot be reached or written, however often it was tried."""


class Store:
    """Folders under a URL such as ``s3://bucket/runs`` or ``file:///mnt/runs``.

    Args:
        url: Where. Keys and endpoints are in the environment, as fsspec's package for the protocol reads them.

    Raises:
        RunError: The URL's protocol is unknown or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        try:
            # A listing that was kept would hide what another machine has pushed.
            self._fs, root = url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            way_out = f"{redact(str(error))}; install the package in the environment of every node, or give another URL"
            raise RunError(f"--artifacts {redact(url)}: {way_out}") from error
        self._root = root.rstrip("/")
        protocol = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        self._atomic = bool(protocol & _ATOMIC)

    def has(self, folder: str) -> bool:
        """Whether a folder has ever been pushed whole."""
        return bool(self._manifest(folder))

    def push(self, folder: str, source: Path) -> None:
        """Push what is new or changed in `source`, then drop what is there no more; hidden files are left out.

        The source may change meanwhile. Small files that name others (``resume.json``, ``result.json``) are read before
        those, and if one of the others is gone when its turn comes, all begins anew.

        Raises:
            StoreError: It could not be pushed.
        """
        known = self._manifest(folder)
        passes = (self._push(folder, source, known) for _ in range(_PASSES))
        pushed = next((stamps for stamps in passes if stamps is not None), None)
        if pushed is None:
            raise StoreError(f"{source}: files vanish as fast as they are pushed")
        self._put_bytes(f"{folder}/{MANIFEST}", json.dumps(pushed, sort_keys=True).encode())
        for name in known.keys() - pushed.keys():
            self._remove(f"{folder}/{name}")

    def pull(self, folder: str, target: Path, without: Collection[str] = ()) -> bool:
        """Bring `target` to what was last pushed, files of the same size and age excepted; false if nothing was.

        The metrics come last: they say that all else is there.

        Args:
            folder: Which one.
            target: Where to; files that are there and not in the store stay.
            without: Names in the folder (files or folders) that are not wanted.

        Raises:
            StoreError: It could not be pulled.
        """
        manifest = self._manifest(folder)
        wanted = [name for name in manifest if PurePosixPath(name).parts[0] not in without]
        for name in sorted(wanted, key=lambda name: name == _LAST):
            self._pull(f"{folder}/{name}", target / name, manifest[name])
        return bool(manifest)

    def pull_whole(self, folder: str, target: Path) -> bool:
        """Pull a folder that means something by being there: it appears at once, or was there and is left alone."""
        if target.exists():
            return True
        scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            found = self.pull(folder, scratch)
            if found and not target.exists():
                scratch.rename(target)
        except OSError:
            if not target.exists():  # another job of this node was quicker
                raise
            return True
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return found

    def push_file(self, name: str, source: Path) -> None:
        """Push one file, if it is there."""
        if source.exists():
            self._put_file(name, source)

    def pull_file(self, name: str, target: Path) -> None:
        """Pull one file, if it is there."""
        if self.has_file(name):
            self._get(name, target)

    def has_file(self, name: str) -> bool:
        """Whether a file is there."""
        return _retried(f"look for {name}", lambda: bool(self._fs.exists(self._path(name))))

    def _push(self, folder: str, source: Path, known: dict[str, Stamp]) -> dict[str, Stamp] | None:
        """Push the files of one pass and return them with their stamps; None: one was gone when its turn came."""
        pushed: dict[str, Stamp] = {}
        try:
            marks = {path: (_stamp(path), path.read_bytes()) for path in _files(source) if _is_mark(path, source)}
            for path in (path for path in _files(source) if path not in marks):
                name = path.relative_to(source).as_posix()
                pushed[name] = _stamp(path)
                if known.get(name) != pushed[name]:
                    self._put_file(f"{folder}/{name}", path)
        except FileNotFoundError:
            return None
        for path in sorted(marks, key=lambda path: (path.name == _LAST, marks[path][0][1])):
            name = path.relative_to(source).as_posix()
            pushed[name], data = marks[path]
            if known.get(name) != pushed[name]:
                self._put_bytes(f"{folder}/{name}", data)
        return pushed

    def _pull(self, name: str, target: Path, stamp: Stamp) -> None:
        if target.exists() and _stamp(target) == stamp:
            return
        self._get(name, target)
        os.utime(target, ns=(stamp[1], stamp[1]))

    def _get(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            _retried(f"get {name}", lambda: self._fs.get_file(self._path(name), str(scratch)))
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)

    def _manifest(self, folder: str) -> dict[str, Stamp]:
        path = self._path(f"{folder}/{MANIFEST}")
        data = _retried(f"read {folder}", lambda: self._fs.cat_file(path) if self._fs.exists(path) else b"{}")
        return {name: (size, age) for name, (size, age) in json.loads(data).items()}

    def _put_file(self, name: str, source: Path) -> None:
        self._put(name, lambda path: self._fs.put_file(str(source), path))

    def _put_bytes(self, name: str, data: bytes) -> None:
        self._put(name, lambda path: self._fs.pipe_file(path, data))

    def _put(self, name: str, put: Callable[[str], Any]) -> None:
        path = self._path(name)
        made = path if self._atomic else f"{path}.{uuid.uuid4().hex[:8]}.part"

        def once() -> None:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            put(made)
            if made != path:
                self._fs.mv(made, path)

        _retried(f"put {name}", once)

    def _remove(self, name: str) -> None:
        path = self._path(name)
        _retried(f"remove {name}", lambda: self._fs.rm_file(path) if self._fs.exists(path) else None)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _retried(what: str, call: Callable[[], T]) -> T:
    """Call, and again after ever longer waits; a file of this machine that is gone is the caller's to hear of.

    Raises:
        StoreError: It failed every time.
    """
    for attempt in range(TRIES):
        try:
            return call()
        except FileNotFoundError:
            raise
        except Exception as error:  # every package has errors of its own
            if attempt == TRIES - 1:
                told = redact(f"{type(error).__name__}: {error}")
                raise StoreError(f"cannot {what} in the store of artifacts, tried {TRIES} times: {told}") from error
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError("unreachable")


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files, those in hidden folders and locks left out: they are of work in progress on this machine."""
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(base, name) for name in sorted(names) if not name.startswith(".") and name != "lock")


def _is_mark(path: Path, folder: Path) -> bool:
    """Whether a file says of others that they are complete: JSON, but not that of a model or of one checkpoint."""
    parts = path.relative_to(folder).parts
    return path.suffix == ".json" and "model" not in parts[:-1] and not (parts[0] == "checkpoints" and len(parts) > 2)


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
