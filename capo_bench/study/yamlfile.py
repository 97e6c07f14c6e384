"""Parse YAML with line numbers: the tree of a file, and the line of every key and item.

The tree is built from parser events, so unneeded features are never expanded or constructed: anchors, aliases and tags
are refused, and keys must be text and unique. Scalars follow YAML 1.2: ``2e-4`` is a number and ``no`` is text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from capo_bench.study.errors import Place, StudyError, StudyErrors, format_value

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
TreePath = tuple[str | int, ...]
Tree: TypeAlias = Any
"""Content of YAML: a mapping with text keys, a list or a scalar, nested."""
Event: TypeAlias = Any  # PyYAML's events have no types

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


@dataclass(frozen=True)
class Document:
    """The tree of a file, with the line (from 1) of every key and every item, by path."""

    file: str
    tree: Tree
    lines: dict[TreePath, int]

    def place(self, path: TreePath = ()) -> Place:
        """Return where a path was written; if it was not, the place of its nearest written ancestor."""
        while path and path not in self.lines:
            path = path[:-1]
        return Place(self.file, self.lines.get(path))


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises:
        StudyErrors: The file cannot be read or is not such a file; lists all errors.
    """
    name = str(path)
    document = parse_document(_read_text(path), name)
    if isinstance(document.tree, dict):
        return document
    if document.tree is None:
        raise _make_refusal(Place(name), "the file is empty", "write a study; `capo-bench ls` names shipped ones")
    rule = f"the file holds {format_value(document.tree)}, but a study is a mapping of keys"
    raise _make_refusal(Place(name, 1), rule, "begin with keys such as 'name:' and 'question:'")


def parse_document(text: str, file: str) -> Document:
    """Parse one YAML document.

    Raises:
        StudyErrors: The text is not valid YAML or uses refused features; lists all errors.
    """
    builder = _Builder(file)
    try:
        tree = builder.document(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        place = Place(file, mark.line + 1 if mark else None)
        rule = f"not valid YAML: {problem}"
        builder.errors.append(StudyError(place, rule, "check indentation, brackets and quotes there"))
        tree = None
    if builder.errors:
        raise StudyErrors(builder.errors)
    return Document(file, tree, builder.lines)


def _make_refusal(place: Place, rule: str, way_out: str) -> StudyErrors:
    return StudyErrors([StudyError(place, rule, way_out)])


def _read_text(path: Path) -> str:
    place = Place(str(path))
    if path.is_dir():
        raise _make_refusal(place, "a folder, where a study file is wanted", "name a YAML file in it")
    if path.exists() and not path.is_file():
        raise _make_refusal(place, "not a regular file", "write the study to a file")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _make_refusal(place, f"cannot be read: {error.strerror}", "check its permissions") from error
    if len(data) > MAX_BYTES:
        raise _make_refusal(place, f"larger than {MAX_BYTES} bytes", "a study is a few kilobytes: check the path")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        rule = f"byte {data[error.start]:#04x} is not UTF-8"
        raise _make_refusal(Place(str(path), line), rule, "save the file as UTF-8") from error


class _Builder:
    """Builds plain values from parser events; refuses aliases before they can be expanded."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[TreePath, int] = {}
        self.errors: list[StudyError] = []

    def document(self, events: Iterator[Event]) -> Tree:
        tree, count = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                count += 1
                if count > 1:
                    self._add_error(event, "a second document", "keep one study a file")
                    break
            elif isinstance(event, yaml.NodeEvent):
                tree = self._read_value(event, events, ())
        return tree

    def _read_value(self, event: Event, events: Iterator[Event], path: TreePath) -> Tree:
        self.lines.setdefault(path, event.start_mark.line + 1)
        self._refuse_references(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._read_mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._read_sequence(events, path)
        return None if isinstance(event, yaml.AliasEvent) else self._read_scalar(event)

    def _refuse_references(self, event: Event, path: TreePath) -> None:
        if event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            kind = "alias" if sign == "*" else "anchor"
            rule = f"{kind} {sign + event.anchor!r}: anchors and aliases are not allowed in a study"
            self._add_error(event, rule, "write the value out")
        if getattr(event, "tag", None) is not None:
            rule = f"tag {event.tag!r}: tags are not allowed in a study"
            self._add_error(event, rule, "write the plain value")
        if len(path) > MAX_DEPTH:
            rule = f"nested more than {MAX_DEPTH} deep"
            raise _make_refusal(Place(self.file, event.start_mark.line + 1), rule, "a study needs no such depth")

    def _read_sequence(self, events: Iterator[Event], path: TreePath) -> list[Tree]:
        items: list[Tree] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._read_value(event, events, (*path, len(items))))
        return items

    def _read_mapping(self, events: Iterator[Event], path: TreePath) -> dict[str, Tree]:
        table: dict[str, Tree] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._read_key(event, events, path)
            here = (*path, key)
            if key in table:
                rule = (
                    f"key {key!r} is written twice: on line {self.lines[here]} and on line {event.start_mark.line + 1}"
                )
                self._add_error(event, rule, "keep one of them")
            self.lines.setdefault(here, event.start_mark.line + 1)
            table[key] = self._read_value(next(events), events, here)
        return table

    def _read_key(self, event: Event, events: Iterator[Event], path: TreePath) -> str:
        if isinstance(event, yaml.ScalarEvent) and isinstance(self._convert_plain(event), str):
            self._refuse_references(event, path)
            return str(event.value)
        key = self._read_value(event, events, (*path, "?"))
        self._add_error(event, f"key {format_value(key)} is not text", "write keys as words, or quote it")
        return str(key)

    def _read_scalar(self, event: Event) -> Tree:
        value = self._convert_plain(event)
        number = isinstance(value, int | float)
        if number and not (math.isfinite(value) and (isinstance(value, float) or abs(value) < 2**63)):
            rule = f"number {format_value(event.value)} is too large"
            self._add_error(event, rule, "write a number below 2^63, or quote it if it is text")
            return None
        return value

    @staticmethod
    def _convert_plain(event: Event) -> Tree:
        text = event.value
        if not event.implicit[0]:
            return text
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if _INT.fullmatch(text):
            return int(text) if len(text) < 40 else math.inf
        return float(text) if _FLOAT.fullmatch(text) else text

    def _add_error(self, event: Event, rule: str, way_out: str) -> None:
        self.errors.append(StudyError(Place(self.file, event.start_mark.line + 1), rule, way_out))
