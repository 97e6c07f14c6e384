"""Read rows of a data file or of a dataset of the hub, each with its place, and collect all their errors."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.registry import suggest_similar

MOST_TOLD = 20
SAME_TOLD = 3
"""Maximum number of rows with the same error that are listed singly; for more rows, only the first and a count."""
LONGEST_LINE = 16 * 2**20
"""Maximum length in bytes. A row is one problem or one conversation, and the rest of a longer line is not parsed."""
LARGEST_ARRAY = 2**30
"""Maximum size in bytes of a JSON array, which is read as a whole."""

Flaws = list[str]
"""Error messages, each with place, value, rule and way out."""


class DataErrors(ValueError):  # noqa: N818 - it carries many errors
    """All errors in the requested data, one per line.

    Attributes:
        flaws: All errors; the message contains only the first `MOST_TOLD`.
    """

    def __init__(self, flaws: Sequence[str]) -> None:
        self.flaws = tuple(flaws)
        more = [f"… and {len(flaws) - MOST_TOLD} more"] * (len(flaws) > MOST_TOLD)
        super().__init__("\n".join([*flaws[:MOST_TOLD], *more]))


@dataclass(frozen=True)
class Row:
    """One row, column to value, and its place: file and line, or file and row number from 1."""

    place: str
    value: dict[str, Any]


class RowModel(BaseModel):
    """Base of the row models: unknown columns are ignored, values are not converted."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


M = TypeVar("M", bound=RowModel)


def read_rows(path: Path, flaws: Flaws) -> Iterator[Row]:
    """Yield the rows of a JSON array, a JSONL, Parquet or CSV file; read errors are added to `flaws`."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        flaws.append(f"{path}: {path.suffix!r} is no kind of file that is read; name one of {', '.join(_READERS)}")
        return
    try:
        yield from _check_objects(reader(path, flaws), flaws)
    except FileNotFoundError:
        flaws.append(f"{path}: there is no such file; correct its name")
    except (OSError, ValueError, RecursionError) as error:  # from JSON and Arrow
        flaws.append(f"{path}: cannot be read ({error}); get the file again from its source")


def read_hub_rows(
    dataset: str, split: str | None, flaws: Flaws, *, config: str | None = None, revision: str | None = None
) -> Iterator[Row]:
    """Yield the rows of a dataset of the hub, one split or all splits; errors are added to `flaws`."""
    import datasets

    name = dataset if split is None else f"{dataset} ({split})"
    try:
        loaded = datasets.load_dataset(dataset, config, split=split, revision=revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        gated = "ask for access on its page of the hub and run 'hf auth login', or " if "gated" in reason else ""
        flaws.append(
            f"{name}: cannot be loaded ({reason}); {gated}name a local copy (--data-dir, or a file in the study)"
        )
        return
    parts = loaded.values() if isinstance(loaded, dict) else [loaded]
    batches = (batch for part in parts for batch in part.with_format("arrow").iter(1024))
    rows = (row for batch in batches for row in batch.to_pylist())
    yield from (Row(f"{name}, row {number}", row) for number, row in enumerate(rows, 1))


def validate_rows(rows: Iterable[Row], model: type[M], flaws: Flaws) -> Iterator[tuple[Row, M]]:
    """Yield the rows with their validated models; validation errors are added to `flaws` after the last row."""
    places: dict[str, list[str]] = {}
    for row in rows:
        try:
            yield row, model.model_validate(row.value)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                places.setdefault(_describe_flaw(dict(detail)), []).append(row.place)
    for flaw, where in places.items():
        many = [f"{where[0]} (and {len(where) - 1:,} more rows)"]
        flaws += [f"{place}: {flaw}" for place in (many if len(where) > SAME_TOLD else where)]


def list_data_files(source: Path, folder: str, subset: str, *, alone: bool) -> list[Path]:
    """Return the files of a subset.

    Args:
        source: A file, or the folder of the data set, or the folder above it.
        folder: Name of the data set's folder.
        subset: A file belongs to the subset if this is a word in its name (``phase1_test.jsonl``: test). If no file
            matches, case is ignored (``ARC-Challenge-Test.jsonl``).
        alone: Whether to return the folder's only file regardless of its name.
    """
    if source.is_file():
        return [source]
    inner = source / folder if (source / folder).is_dir() else source
    files = [path for path in sorted(inner.glob("**/*")) if path.suffix in _READERS]
    words = {path: re.split(r"[^A-Za-z0-9]+", path.stem) for path in files if subset}
    named = [path for path in words if subset in words[path]]
    named = named or [path for path in words if subset.lower() in map(str.lower, words[path])]
    return named or (files if alone and len(files) == 1 else [])


def format_value(value: object) -> str:
    """Return a value for an error message, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_json(path: Path, flaws: Flaws) -> Iterator[tuple[str, Any]]:
    if path.stat().st_size > LARGEST_ARRAY:
        flaws.append(f"{path}: is larger than 1 GiB and one JSON array; write JSONL, one object a line")
        return
    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list):
        flaws.append(f"{path}: holds {format_value(rows)} but should hold an array of rows; write [row, row, …]")
        return
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _read_jsonl(path: Path, flaws: Flaws) -> Iterator[tuple[str, Any]]:
    for number, line in _read_lines(path, flaws):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            flaws.append(
                f"{path}:{number}: {format_value(line.rstrip())} is not JSON ({error}); write one object a line"
            )
        else:
            yield f"{path}:{number}", row


def _read_parquet(path: Path, flaws: Flaws) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]

    batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024)
    rows = (row for batch in batches for row in batch.to_pylist())
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _read_csv(path: Path, flaws: Flaws) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(text for _, text in _read_lines(path, flaws))
    try:
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if None in row:
                flaws.append(f"{place}: has more fields than the first line names columns; quote fields with commas")
            else:
                yield place, row
    except csv.Error as error:
        flaws.append(f"{path}:{reader.reader.line_num}: is not CSV ({error}); mend the line, or write JSONL")


def _read_lines(path: Path, flaws: Flaws) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, from 1; lines that are too long are skipped unread."""
    with path.open("rb") as file:
        for number in itertools.count(1):
            line = file.readline(LONGEST_LINE + 1)
            if not line:
                return
            if len(line) > LONGEST_LINE:
                megabytes = LONGEST_LINE // 2**20
                flaws.append(f"{path}:{number}: is longer than {megabytes} MiB; a row is one line of one problem")
                _skip_line(file, line)
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                flaws.append(f"{path}:{number}: is not UTF-8 ({error.reason}); save the file as UTF-8")
                continue
            yield number, text


def _skip_line(file: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(LONGEST_LINE)


_UNION = ("str", "int", "float")
_SUBJECT = re.compile(r"^\w+ (?=should)")
_READERS = {".json": _read_json, ".jsonl": _read_jsonl, ".parquet": _read_parquet, ".csv": _read_csv}


def _check_objects(rows: Iterable[tuple[str, Any]], flaws: Flaws) -> Iterator[Row]:
    for place, value in rows:
        if isinstance(value, dict):
            yield Row(place, value)
        else:
            flaws.append(f"{place}: {format_value(value)} is not a row; write an object with the columns as keys")


def _describe_flaw(detail: dict[str, Any]) -> str:
    # A location contains columns, and also the member of a union that was tried.
    column, *below = detail["loc"] or ("",)
    where = ".".join(str(part) for part in [column, *below] if part not in _UNION or part is column)
    if detail["type"] == "missing":
        columns = [str(name) for name in detail["input"]]
        near = suggest_similar(str(detail["loc"][-1]), columns)
        return f"key {where!r} is missing{near}; the row has {', '.join(columns) or 'none'}"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return f"{where} is {format_value(detail['input'])} but {_SUBJECT.sub('', detail['msg'])}; correct the row"
