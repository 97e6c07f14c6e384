"""From what varies to the list of variants: product of the matrix × rows of the zip, minus exclude, plus include."""

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
    """Where a value was written: in a study file, or in an option, whose text then stands for the file."""

    document: Document
    path: TreePath = ()

    def place(self, below: TreePath = ()) -> Place:
        """Return the place of the value, or of what is at `below` inside it."""
        return self.document.place((*self.path, *below))


@dataclass(frozen=True)
class KeySetting:
    """One dotted key of `TrialConfig` set to one value, and where that was written."""

    key: str
    value: Tree
    source: Source


@dataclass(frozen=True)
class Draft:
    """A variant before its settings are checked."""

    name: str
    settings: tuple[KeySetting, ...]
    source: Source

    @property
    def overrides(self) -> dict[str, Any]:
        """What the variant sets, by dotted key."""
        return {setting.key: setting.value for setting in self.settings}


@dataclass(frozen=True)
class Sources:
    """Where each key of an effective sweep was written: the study's own level, or its profile's."""

    document: Document
    prefixes: Mapping[str, TreePath]

    def at(self, key: str, *below: str | int) -> Source:
        """Return the source of a key of the sweep, or of what is below it."""
        return Source(self.document, (*self.prefixes.get(key, ()), key, *below))


def drafts(sweep: Sweep, sources: Sources) -> list[Draft]:
    """Return the variants in the order of the file, excluded ones left out.

    A sweep that varies nothing and includes nothing is the base alone, named ``base``.
    """
    rows = [row for row in _rows(sweep, sources) if not any(excluded(row, entry) for entry in sweep.exclude)]
    swept = sweep.matrix or sweep.zip
    labels = short_names([*sweep.matrix, *sweep.zip])
    kept = [
        Draft(",".join(f"{labels[each.key]}={value_shown(each.value)}" for each in row), row, row[0].source)
        for row in rows
        if row
    ]
    for index, item in enumerate(sweep.include):
        settings = tuple(
            KeySetting(key, value, sources.at("include", index, "set", key)) for key, value in item.set.items()
        )
        kept.append(Draft(item.name, settings, sources.at("include", index)))
    return kept if swept or sweep.include else [Draft("base", (), sources.at("base"))]


def excluded(row: Iterable[KeySetting], entry: Mapping[str, Any]) -> bool:
    """Whether a row has all the values of an entry of `exclude`."""
    values = {setting.key: setting.value for setting in row}
    return all(key in values and values[key] == value for key, value in entry.items())


def _rows(sweep: Sweep, sources: Sources) -> list[tuple[KeySetting, ...]]:
    axes = [_column(key, values, "matrix", sources) for key, values in sweep.matrix.items()]
    columns = [_column(key, values, "zip", sources) for key, values in sweep.zip.items()]
    zipped = list(zip(*columns, strict=True)) if columns else [()]
    return [(*row, *together) for row in itertools.product(*axes) for together in zipped]


def _column(key: str, values: Sequence[Any], table: str, sources: Sources) -> list[KeySetting]:
    return [KeySetting(key, value, sources.at(table, key, index)) for index, value in enumerate(values)]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return a short name of each swept key: its last segment, or all of it where two end alike.

    The seed of the trial is called ``seed`` already.
    """
    last = {key: key.rpartition(".")[2] for key in keys}
    tails = [*last.values(), "seed"]
    return {key: tail if tails.count(tail) == 1 else key for key, tail in last.items()}


def value_shown(value: Tree) -> str:
    """Return a value as a variant's name shows it."""
    if isinstance(value, dict):
        head = str(value.get("name", ""))
        params = ",".join(f"{key}={value_shown(item)}" for key, item in sorted(value.items()) if key != "name")
        return f"{head}({params})" if params else head
    if isinstance(value, list):
        return f"[{','.join(map(value_shown, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
