"""The report built again from what was derived, and compared with the one that there is."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capo_bench.analysis.digest import code
from capo_bench.pages.build import build_report
from capo_bench.pages.write import ReportPaths, write_files
from capo_bench.store.home import Home
from capo_bench.store.walk import ABSENT
from capo_bench.verify.checks import Check, Checks
from evals.checksums import file_sum, files_below

if TYPE_CHECKING:
    from capo_bench.study.plan import Plan


def check_report(checks: Checks, plan: Plan, again: Home, said: Path, origin: dict[str, Any] | None) -> None:
    """Build the report again and compare it.

    Args:
        checks: Receives what was found.
        plan: The study.
        again: Results folder with what was derived.
        said: Folder of the report to check.
        origin: Of the capo-bench that wrote the report; None: of this one.

    Raises:
        NothingToReportError: No trial has finished.
        DamagedFileError: A file of a trial cannot be read.
    """
    found = write_files(build_report(plan, again), again.study(plan.study).profile(plan.profile).report)
    same = origin is None or origin.get("code") == code()
    with checks["table.csv"].reading("report/table.csv"):
        _table(checks["table.csv"], _read(said / "table.csv"), _read(found.table), same=same)
    for name, path in (("report.md", found.text), ("report.html", found.page)):
        check = checks["report.md" if name == "report.md" else "report.html"]
        if not same:
            check.leave("sentences that other code wrote; table.csv has the numbers")
            continue
        with check.reading(f"report/{name}"):
            _lines(check, _read(said / name).split("\n"), _read(path).split("\n"), f"report/{name}")
    _figures(checks["figures"], said / "figures", found, drawn=same)
    _others(checks["pages"], said, found.page.parent, same=same)


_APART = {"table.csv", "report.md", "report.html", "figures"}


def _others(check: Check, said: Path, found: Path, *, same: bool) -> None:
    """Compare the report's other files: each is written again with the same bytes."""
    names = {file.relative_to(folder).as_posix() for folder in (said, found) for file in files_below(folder)}
    for name in sorted(name for name in names if name.partition("/")[0] not in _APART):
        if not same:
            check.leave("pages that other code wrote")
            continue
        sums = [file_sum(folder / name) if (folder / name).exists() else ABSENT for folder in (said, found)]
        check.equal(f"report/{name}: sha256", *sums)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")  # as it stands: a changed line end is a change


def _table(check: Check, said: str, found: str, *, same: bool) -> None:
    """Compare cells; rows are known by variant and metric, columns by name."""
    left, right = _rows(said), _rows(found)
    check.equal("report/table.csv: rows", [key for key, _ in left], [key for key, _ in right])
    rows = dict(right)
    for line, (key, cells) in enumerate(left, 2):
        for column in dict.fromkeys([*cells, *rows.get(key, {})]):
            one, other = cells.get(column, ABSENT), rows.get(key, {}).get(column, ABSENT)
            if not same and ABSENT in {one, other}:
                check.leave("columns that only one of two versions has")
            else:
                check.equal(f"report/table.csv:{line} {', '.join(key)}, {column}", one, other)


def _rows(text: str) -> list[tuple[tuple[str, str], dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="(more)", restval=ABSENT)
    return [((row["variant"], row["metric"]), {key: str(cell) for key, cell in row.items()}) for row in reader]


def _lines(check: Check, said: Sequence[str], found: Sequence[str], where: str) -> None:
    for number, (one, other) in enumerate(zip_longest(said, found, fillvalue=ABSENT), 1):
        check.equal(f"{where}:{number}", *((one, other) if one == other else _apart(one, other)))


def _apart(said: str, found: str) -> tuple[str, str]:
    """Cut two lines to where they differ, with a little of what stands before."""
    at = next(
        (place for place, (a, b) in enumerate(zip(said, found, strict=False)) if a != b), min(len(said), len(found))
    )
    start = max(at - 40, 0)
    dots = "…" * (start > 0)
    return dots + said[start : at + 60], dots + found[start : at + 60]


def _figures(check: Check, said: Path, found: ReportPaths, *, drawn: bool) -> None:
    names = {path.name for path in found.figures} | _names(said)
    for name in sorted(names):
        one, other = said / name, found.page.parent / "figures" / name
        if not drawn:
            check.leave("figures that another version drew; they show numbers of table.csv and of step records")
            continue
        same = one.exists() and other.exists() and one.read_bytes() == other.read_bytes()
        check.equal(f"report/figures/{name}", "as it is" if one.exists() else ABSENT, _kind(same, other))


def _kind(same: bool, other: Path) -> str:
    return "as it is" if same else "another drawing" if other.exists() else ABSENT


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")} if folder.is_dir() else set()
