"""Provide the tasks' rows, as lm-eval's ``custom_dataset``: from the hub, a local folder, or the embedded benchmark.

lm-eval calls these functions with a task's ``dataset_kwargs`` and ``metadata`` together. The values of ``--metadata``
are part of the latter, so ``--metadata '{"data_dir": "…"}'`` reads local files in plain lm-eval too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.benchmarks import BENCHMARKS
from evals.tasks.rows import DataErrors, Flaws, Row, list_data_files, read_hub_rows, read_rows

SPLIT = "test"


@dataclass(frozen=True)
class Raw:
    """Unprocessed rows of a source, the prefix of their ids, a description of the source, and all errors so far."""

    rows: list[Row]
    benchmark: str
    source: str
    flaws: Flaws = field(default_factory=list)


def rows(*, folder: str, hub: Mapping[str, str], data_dir: str | Path | None = None, **_: Any) -> dict[str, Raw]:
    """Return the rows of a benchmark: from its dataset on the hub, or from ``<data_dir>/<folder>``.

    In that folder, the files (``.jsonl``, ``.json``, ``.parquet``, ``.csv``) with ``test`` as a word in their name are
    read, or else its only file.

    Args:
        folder: The benchmark's folder.
        hub: Its dataset on the hub: ``path``, ``split`` and optionally a configuration's ``name`` and a ``revision``.
        data_dir: The local folder that contains the benchmarks' folders.
    """
    flaws: Flaws = []
    if data_dir is not None:
        return {SPLIT: _read_local(Path(data_dir), folder, flaws)}
    path, split, revision = hub["path"], hub["split"], hub.get("revision")
    loaded = list(read_hub_rows(path, split, flaws, config=hub.get("name"), revision=revision))
    config = f", {hub['name']}" if "name" in hub else ""
    return {SPLIT: Raw(loaded, folder, f"{path}{config} ({split}) at {revision or 'its newest revision'}", flaws)}


def drawn(*, benchmark: str, split: str, problems: int, **_: Any) -> dict[str, Raw]:
    """Return the first problems of a split of a registered benchmark, the same in every evaluation."""
    first = BENCHMARKS.get(benchmark).problems(split, problems, seed=0)
    rows = [
        Row(problem.id, {"id": problem.id, "problem": problem.prompt, "answer": problem.answer}) for problem in first
    ]
    return {SPLIT: Raw(rows, "", f"{benchmark} ({split}), drawn")}


def named(*, rows: Mapping[str, Any], own_task: str, **_: Any) -> dict[str, Raw]:
    """Return the problems that a study defines by their rows."""
    from evals.tasks.row_settings import TestRows
    from evals.tasks.training_sets import load_named_problems

    source = TestRows.model_validate(rows)
    try:
        problems = load_named_problems(source).all
    except DataErrors as errors:
        return {SPLIT: Raw([], own_task, own_task, list(errors.flaws))}
    read = [
        Row(problem.id, {"id": problem.id.rpartition("/")[2], "problem": problem.prompt, "answer": problem.answer})
        for problem in problems
    ]
    place = Path(source.file).name if source.file else f"{source.hub} ({source.split}) at {source.revision}"
    return {SPLIT: Raw(read, own_task, place)}


def _read_local(data_dir: Path, folder: str, flaws: Flaws) -> Raw:
    inner = data_dir / folder
    files = list_data_files(inner, folder, SPLIT, alone=True) if inner.is_dir() else []
    if not files:
        flaws.append(
            f"{inner}: no file of the test problems; it is expected as {SPLIT}.jsonl, .json, .parquet or .csv, or as "
            "the only file of the folder"
        )
    read = [row for file in files for row in read_rows(file, flaws)]
    return Raw(read, folder, ", ".join(file.relative_to(data_dir).as_posix() for file in files), flaws)
