"""Read the rows of a data set from a file, a folder of local copies, or the hub at a commit, and validate them.

The environment variable CAPO_BENCH_DATA names the folder of local copies: ``gsm8k/train.jsonl`` and so on, with the
hub's columns. If it contains the data set's folder, the hub is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from evals.tasks.canonical import hash_value
from evals.tasks.row_settings import RowSource
from evals.tasks.rows import DataErrors, Flaws, Row, RowModel, list_data_files, read_hub_rows, read_rows, validate_rows

T = TypeVar("T")

DATA = "CAPO_BENCH_DATA"
SPLIT = "train"
_CARDS = ("README.md", ".gitattributes")
"""Files that nearly every dataset of the hub has, and that are downloaded before its rows."""
NAMED = "rows"
"""Placeholder for the name of rows that a study defines."""


@dataclass(frozen=True)
class RowSet:
    """The rows of a data set.

    Attributes:
        name: Its name in studies, and the folder of local copies.
        configs: Its configurations, which are combined; None: its only one.
        file: The file of the rows, if a study names one.
    """

    name: str
    hub: str | None = None
    revision: str | None = None
    configs: tuple[str | None, ...] = (None,)
    split: str = SPLIT
    file: Path | None = None

    @property
    def local(self) -> bool:
        """Whether the rows are in a local file or copy, so that the hub is not used."""
        return self.file is not None or bool(self._copies)

    def read(self, flaws: Flaws) -> Iterator[Row]:
        """Yield the rows; read errors are added to `flaws`."""
        if self.file is not None:
            yield from read_rows(self.file, flaws)
        elif copies := self._copies:
            for path in copies:
                yield from read_rows(path, flaws)
        else:
            for config in self.configs:
                yield from read_hub_rows(str(self.hub), self.split, flaws, config=config, revision=self.revision)

    @property
    def at_hand(self) -> bool:
        """Whether the rows are on this machine, including the hub's cache."""
        return self.local or is_in_hub_cache(str(self.hub), self.revision)

    def tell_empty(self, what: str) -> str:
        """Return the error message for rows of which none can be used."""
        if self.file is not None:
            return f"{self.file}: holds no {what}; name a file that holds some"
        return f"{self.name}: no {what}; see that {DATA} names the folder of {self.name}/"

    def fingerprint(self) -> str:
        """Return a hash of the local copies, or the hub's dataset and its commit."""
        if copies := self._copies:
            digest = hashlib.sha256()
            for path in copies:
                digest.update(path.read_bytes())
            return digest.hexdigest()[:12]
        return f"{self.hub}@{self.revision}"

    @property
    def _copies(self) -> list[Path]:
        folder = None if self.name == NAMED else os.environ.get(DATA)
        inner = Path(folder) / self.name if folder else None
        return list_data_files(inner, self.name, self.split, alone=True) if inner is not None and inner.is_dir() else []


@dataclass(frozen=True)
class DataSet(Generic[T]):
    """Rows with their conversion: a published data set, or rows that a study defines.

    Attributes:
        layout: The row model, and the conversion of a validated row; None leaves the row out.
        source: The rows as a study defines them; None for a published data set.
    """

    rows: RowSet
    layout: tuple[type[RowModel], Callable[[Any], T | None]]
    source: RowSource | None = None

    what: ClassVar[str] = "row"
    """What is missing where no row is of use."""

    @cached_property
    def all(self) -> list[T]:
        """All converted rows, in the order of the rows.

        Raises:
            DataErrors: All errors in the data.
        """
        flaws: Flaws = []
        model, make = self.layout
        read = ((row.place, make(value)) for row, value in validate_rows(self.rows.read(flaws), model, flaws))
        kept = self.select(((place, item) for place, item in read if item is not None), flaws)
        if not kept and not flaws:
            flaws.append(self.rows.tell_empty(self.what))
        if flaws:
            raise DataErrors(flaws)
        return kept

    def select(self, items: Iterator[tuple[str, T]], flaws: Flaws) -> list[T]:
        """Return the converted rows to keep, given each with its place; errors are added to `flaws`."""
        return [item for _, item in items]

    def texts(self) -> list[str]:
        """Return the texts that a model is trained on, separately.

        Raises:
            DataErrors: All errors in the data.
        """
        raise NotImplementedError

    def content(self) -> list[object]:
        """Return the converted rows as plain data."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Return what determines the converted rows: the content of a study's file, else the data set and its commit.

        Raises:
            DataErrors: All errors in a study's file.
        """
        if self.source is None:
            return self.rows.fingerprint()
        if self.source.file is not None:
            return hash_value(self.content())
        # Commit, configuration, split and columns determine the rows of the hub, so nothing is loaded.
        return json.dumps(self.source.model_dump(mode="json", exclude={"file"}, exclude_none=True), sort_keys=True)


def is_in_hub_cache(dataset: str, revision: str | None) -> bool:
    """Return whether the hub's cache contains a dataset, possibly incomplete."""
    from huggingface_hub import try_to_load_from_cache

    paths = (try_to_load_from_cache(dataset, name, revision=revision, repo_type="dataset") for name in _CARDS)
    return any(isinstance(path, str) for path in paths)


def locate_named_rows(source: RowSource) -> RowSet:
    """Return the location of the rows that a study defines."""
    file = None if source.file is None else Path(source.file).expanduser()
    return RowSet(NAMED, source.hub, source.revision, (source.config,), source.split, file)


def stamp(source: RowSource) -> tuple[int, int] | None:
    """Return a value that changes when the file is written: its time and size; None if there is no file."""
    try:
        status = Path(source.file or "").expanduser().stat() if source.file else None
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_size)
