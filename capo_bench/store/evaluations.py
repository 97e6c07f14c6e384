"""The files of an evaluation. `results.json` is written last: an evaluation is complete when it exists.

Each task has a folder with its problems and completions (`evals.harness.folder`); all other files are computed from
these.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capo_bench.store.errors import RefusedError
from capo_bench.store.home import Home, Inside, read_json
from evals.harness.results import Result
from evals.tasks import SUITES

_ID = re.compile(r"[0-9a-f]{4,12}")


@dataclass(frozen=True)
class EvaluationFiles:
    """Paths of an evaluation's files."""

    folder: Path

    record = Inside("evaluation.json", "folder")
    """The request and the identity, whose hash is in the folder's name; written first."""
    provenance = Inside("provenance.json", "folder")
    """Commit, packages, hardware."""
    results = Inside("results.json", "folder")
    """All numbers of all tasks."""
    table = Inside("table.csv", "folder")
    """One line per task and metric."""
    page = Inside("report.html", "folder")
    """The report."""
    lock = Inside("lock", "folder")
    """Held while a process works in the folder."""
    tasks = Inside("tasks", "folder")
    """Contains a folder for each task."""

    def task(self, name: str) -> Path:
        """Folder of a task."""
        return self.tasks / name


@dataclass(frozen=True)
class Evaluated:
    """An evaluation: its files, its request with the identity, and the results of the tasks in the request's order."""

    files: EvaluationFiles
    record: dict[str, Any]
    results: list[Result]

    @property
    def id(self) -> str:
        """Name of its folder."""
        return str(self.record["id"])

    @property
    def title(self) -> str:
        """The model and its tasks as text."""
        return f"{self.record['model']} on {', '.join(self.record['names'])}"

    def by_suite(self) -> dict[str, list[Result]]:
        """Return the results of each requested suite, and under "tasks" those of tasks requested by their own name."""
        by_task = {result.task: result for result in self.results}
        names = self.record["names"]
        parts = {name: [by_task[task] for task in SUITES[name]] for name in names if name in SUITES}
        alone = [by_task[name] for name in names if name not in SUITES]
        return {**parts, "tasks": alone} if alone else parts


def find_folder(evaluation_id: str, model: str, names: Sequence[str], home: Home) -> EvaluationFiles:
    """Return the folder with an evaluation's id; if there is none, a new one named by model, tasks and id."""
    for path in home.evaluations.glob(f"*-{evaluation_id}"):
        return EvaluationFiles(path)
    words = [Path(model).name, *names]
    label = "-".join(re.sub(r"[^A-Za-z0-9_.=-]+", "_", word).strip("._") for word in words)[:100]
    return EvaluationFiles(home.evaluations / f"{label}-{evaluation_id}")


def find_evaluation(word: str, home: Home, *, by_name: bool = True) -> EvaluationFiles | None:
    """Return the evaluation that a word refers to: its folder, or the beginning of its name or id; None without one.

    Raises:
        RefusedError: The names of several evaluations begin with the word.
    """
    if EvaluationFiles(Path(word)).record.is_file():
        return EvaluationFiles(Path(word))
    folders = [path for path in sorted(home.evaluations.glob("*")) if EvaluationFiles(path).record.is_file()]
    of_id = [path for path in folders if _ID.fullmatch(word) and path.name.rpartition("-")[2].startswith(word)]
    hits = of_id or [path for path in folders if by_name and word and path.name.startswith(word)]
    if len(hits) > 1:
        names = ", ".join(path.name for path in hits)
        raise RefusedError(
            [f"{word}: {len(hits)} evaluations of {home.path} begin so ({names}); write more of the name"]
        )
    return EvaluationFiles(hits[0]) if hits else None


def read_record(files: EvaluationFiles) -> dict[str, Any]:
    """Read ``evaluation.json``.

    Raises:
        RefusedError: The file is missing or damaged.
    """
    try:
        record = read_json(files.record)
        required = {key: record[key] for key in ("id", "model", "sources", "identity")}
        return {**record, **required, "tasks": list(record["tasks"]), "names": list(record["names"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        way_out = f"delete {files.folder} and evaluate again"
        raise RefusedError([f"{files.record} is no record of an evaluation ({error}); {way_out}"]) from error
