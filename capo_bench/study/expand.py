"""Expand a sweep into variants: product of the matrix × rows of the zip, minus exclude, plus include."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capo_bench.study.errors import Place
from capo_bench.study.spec import Sweep
from capo_bench.study.yamlfile import Document, Tree, TreePath


@dataclass(frozen=True)
class Source:
    """Where a value was written: in a study file, or in an option, whose text then replaces the file name."""

    document: Document
    path: TreePath = ()

    def place(self, below: TreePath = ()) -> Place:
        """Return the place of the value, or of the path `below` inside it."""
        return self.document.place((*self.path, *below))


@dataclass(frozen=True)
class KeySetting:
    """A value for one dotted key of `TrialConfig`, and where it was written."""

    key: str
    value: Tree
    source: Source


@dataclass(frozen=True)
class Draft:
    """A variant whose settings have not been validated yet."""

    name: str
    settings: tuple[KeySetting, ...]
    source: Source

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings of the variant, by dotted key."""
        return {setting.key: setting.value for setting in self.settings}


@dataclass(frozen=True)
class Sources:
    """Where each key of an effective sweep was written: at the top level of the study, or in its profile."""

    document: Document
    prefixes: Mapping[str, TreePath]

    def at(self, key: str, *below: str | int) -> Source:
        """Return the source of a key of the sweep, or of a path below it."""
        return Source(self.document, (*self.prefixes.get(key, ()), key, *below))


def build_drafts(sweep: Sweep, sources: Sources) -> list[Draft]:
    """Return the variants in the order of the file, without excluded ones.

    A sweep without variation and without included variants has a single variant, named ``base``: the base itself.
    """
    rows = [row for row in _build_rows(sweep, sources) if not any(is_excluded(row, entry) for entry in sweep.exclude)]
    swept = sweep.matrix or sweep.zip
    labels = shorten_names([*sweep.matrix, *sweep.zip])
    kept = [
        Draft(",".join(f"{labels[each.key]}={format_swept_value(each.value)}" for each in row), row, row[0].source)
        for row in rows
        if row
    ]
    for index, item in enumerate(sweep.include):
        settings = tuple(
            KeySetting(key, value, sources.at("include", index, "set", key)) for key, value in item.set.items()
        )
        kept.append(Draft(item.name, settings, sources.at("include", index)))
    return kept if swept or sweep.include else [Draft("base", (), sources.at("base"))]


def is_excluded(row: Iterable[KeySetting], entry: Mapping[str, Any]) -> bool:
    """Return whether a row has all values of an entry of `exclude`."""
    values = {setting.key: setting.value for setting in row}
    return all(key in values and values[key] == value for key, value in entry.items())


def _build_rows(sweep: Sweep, sources: Sources) -> list[tuple[KeySetting, ...]]:
    axes = [_build_column(key, values, "matrix", sources) for key, values in sweep.matrix.items()]
    columns = [_build_column(key, values, "zip", sources) for key, values in sweep.zip.items()]
    zipped = list(zip(*columns, strict=True)) if columns else [()]
    return [(*row, *together) for row in itertools.product(*axes) for together in zipped]


def _build_column(key: str, values: Sequence[Any], table: str, sources: Sources) -> list[KeySetting]:
    return [KeySetting(key, value, sources.at(table, key, index)) for index, value in enumerate(values)]


def shorten_names(keys: Sequence[str]) -> dict[str, str]:
    """Return a short name for each swept key: its last segment, or the whole key if that is ambiguous.

    A last segment ``seed`` also counts as ambiguous, because it names the trial's seed.
    """
    last = {key: key.rpartition(".")[2] for key in keys}
    tails = [*last.values(), "seed"]
    return {key: tail if tails.count(tail) == 1 else key for key, tail in last.items()}


def format_swept_value(value: Tree) -> str:
    """Return a value as it appears in a variant's name."""
    if isinstance(value, dict):
        head = str(value.get("name", ""))
        params = ",".join(f"{key}={format_swept_value(item)}" for key, item in sorted(value.items()) if key != "name")
        return f"{head}({params})" if params else head
    if isinstance(value, list):
        return f"[{','.join(map(format_swept_value, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
