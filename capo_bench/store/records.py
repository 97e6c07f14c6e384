"""Read the JSON and JSONL files of results; errors name the file and the line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from capo_bench.store.errors import RunError
from evals.checksums import check_file

Record = dict[str, Any]


class DamagedFileError(RunError, ValueError):
    """A finished trial's file cannot be read; the message names file and line."""


def read_object(path: Path) -> Record:
    """Read a JSON file that contains an object.

    Raises:
        DamagedFileError: It does not contain one; the message names file and line.
    """
    check_file(path)
    return _parse_object(path, 1, path.read_text(encoding="utf-8"))


def read_records(path: Path) -> list[Record]:
    """Read a JSONL file.

    Raises:
        DamagedFileError: A line is not a JSON object; the message names file and line.
    """
    check_file(path)
    data = path.read_bytes().rstrip()
    with suppress(ValueError):  # as one list: twice as fast
        records = from_json(b"[" + data.replace(b"\n", b",") + b"]", cache_strings="keys")
        if len(records) == data.count(b"\n") + 1 and all(type(record) is dict for record in records):
            return cast("list[Record]", records)
    lines = data.decode("utf-8").split("\n")  # only a line feed ends one
    return [_parse_object(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _parse_object(path: Path, line: int, text: str) -> Record:
    """Parse a text that begins at a line of a file."""
    way_out = "move the trial's folder away and run it again"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DamagedFileError(f"{path}:{line + error.lineno - 1}: not JSON ({error.msg}); {way_out}") from error
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path}:{line}: {type(value).__name__} where an object belongs; {way_out}")
    return value


def flatten(value: object, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested values by their dotted paths; an empty object or list is a leaf."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        items = list(enumerate(value))
    if not items:
        return {path: value} if path or value else {}
    return {k: v for key, item in items for k, v in flatten(item, f"{path}.{key}" if path else str(key)).items()}
