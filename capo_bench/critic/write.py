"""The files of a measurement. `result.json` is written last: a measurement is whole when it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from capo_bench.critic.figures import figures
from capo_bench.critic.measure import Measured, identity
from capo_bench.critic.page import page
from capo_bench.critic.summary import Summary
from capo_bench.critic.tables import calibration_csv, first_error_csv, votes_csv
from capo_bench.home import Home, write_json
from capo_bench.provenance import environment
from capo_bench.report.write import write_figure
from evals.files import write_atomic
from trainers.credit.critique import Critique


@dataclass(frozen=True)
class Files:
    """Where a measurement's files are."""

    folder: Path

    @property
    def result(self) -> Path:
        """All numbers."""
        return self.folder / "result.json"

    @property
    def critiques(self) -> Path:
        """One line a solution: steps, labels and every critique."""
        return self.folder / "critiques.jsonl"

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / "report.html"


def write(measured: Measured, summary: Summary, home: Home) -> Files:
    """Write a measurement into its folder; the same measurement made again replaces it."""
    files = Files(home.critic(measured.id))
    drawn = figures(summary)
    provenance = {**environment(), "data": _data(measured)}
    write_atomic(files.critiques, "".join(_lines(measured)))
    write_json(files.folder / "provenance.json", provenance)
    write_atomic(files.folder / "votes.csv", votes_csv(summary.votes))
    write_atomic(files.folder / "calibration.csv", calibration_csv(summary))
    if summary.first_error:
        write_atomic(files.folder / "first_error.csv", first_error_csv(summary.first_error))
    for figure in drawn:
        write_figure(figure, files.folder / "figures")
    write_atomic(files.page, page(measured, summary, drawn, provenance))
    write_json(files.result, {"id": measured.id, "identity": _identity(measured), **asdict(summary)})
    return files


def _identity(measured: Measured) -> dict[str, Any]:
    return identity(measured.request, measured.solutions)


def _data(measured: Measured) -> dict[str, Any]:
    selection = measured.request.selection
    return {
        "name": measured.data.name,
        "source": measured.loaded.source,
        "left_out": dict(measured.loaded.left_out),
        "subsets": list(selection.subsets),
        "limit": selection.limit,
        "seed": selection.seed,
        "neutral": selection.neutral,
    }


def _lines(measured: Measured) -> Iterator[str]:
    asked = measured.asked
    for solution, sampled, greedy in zip(measured.solutions, asked.sampled, asked.greedy, strict=True):
        line = {
            "solution": solution.id,
            "subset": solution.subset,
            "problem": solution.problem.prompt,
            "steps": solution.steps,
            "labelled": sorted(solution.labels.labelled),
            "wrong": sorted(solution.labels.wrong),
            "critiques": [_critique(critique) for critique in sampled],
            "greedy": [_critique(critique) for critique in greedy],
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def _critique(critique: Critique) -> dict[str, Any]:
    wrong = None if critique.wrong is None else sorted(critique.wrong)
    return {**asdict(critique), "wrong": wrong}
