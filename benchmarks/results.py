"""Keeps what reports came to in docs/results, with one table a study for its README.

    python -m benchmarks.results HOME docs/results voting main

For each study that is finished in the results folder: the report in Markdown, its tables as CSV, its figures, and
`summary.md`, the table that puts side by side what the report has apart: scores, differences, costs and votes.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

from capo_bench.store.home import Home

COLUMNS = (
    ("*-coins-test-accuracy.csv", "mean ± 95 %", "greedy, %"),
    ("*-coins-test-accuracy.csv", "difference to *", "to the baseline"),
    ("*-coins-test-accuracy.csv", "Holm p", "Holm p"),
    ("*-coins-test-avg-at-8.csv", "mean ± 95 %", "avg@8, T = 1"),
    ("*-right-answers-in-t-1.csv", "maj@8", "maj@8"),
    ("*-coins-longer-accuracy.csv", "mean ± 95 %", "longer"),
    ("*-coins-unseen-accuracy.csv", "mean ± 95 %", "unseen"),
    ("*-coins-test-wrong-step-rate.csv", "mean ± 95 %", "wrong steps, %"),
    ("*-cost-of-training.csv", "FLOPs (× baseline)", "FLOPs (× baseline)"),
    ("*-cost-of-training.csv", "critic tokens (a policy token)", "critic tokens (a policy token)"),
)
"""Where a column of the summary comes from: the table's file, its column (a pattern), and what it is called here."""


def read_rows(tables: Path, pattern: str) -> dict[str, dict[str, str]]:
    """Return the rows of a table by variant; none where the report has no such table."""
    for file in tables.glob(pattern):
        with file.open(encoding="utf-8", newline="") as lines:
            return {row["variant"]: row for row in csv.DictReader(lines)}
    return {}


def columns(tables: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the columns of a summary that the report has: title and cells by variant."""
    for pattern, column, title in COLUMNS:
        cells = {
            variant: value.removeprefix("'")
            for variant, row in read_rows(tables, pattern).items()
            for name, value in row.items()
            if name == column or (column.endswith("*") and name.startswith(column[:-1]))
        }
        if cells:
            yield title, cells


def summarize(tables: Path) -> str:
    """Return a report's numbers as one table in Markdown, the best mean first."""
    shown = list(columns(tables))
    means = shown[0][1]
    order = sorted(means, key=lambda variant: -float(means[variant].partition(" ")[0]))
    lines = ["| variant | " + " | ".join(title for title, _ in shown) + " |", "|---|" + "---:|" * len(shown)]
    for variant in order:
        lines.append("| " + " | ".join([variant, *(cells.get(variant, "–") for _, cells in shown)]) + " |")
    return "\n".join(lines) + "\n"


def keep(report: Path, out: Path) -> None:
    """Copy a report's Markdown, CSV tables and figures, and write its summary."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "tables").mkdir(parents=True)
    shutil.copy(report / "report.md", out)
    shutil.copytree(report / "figures", out / "figures")
    for table in (report / "tables").glob("*.csv"):
        shutil.copy(table, out / "tables")
    (out / "summary.md").write_text(summarize(out / "tables"), encoding="utf-8")


def main() -> None:
    """Read the command line and keep the reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path, help="the results folder")
    parser.add_argument("out", type=Path, help="folder that gets a folder for each study")
    parser.add_argument("studies", nargs="+", help="names of studies")
    parser.add_argument("--profile", default="quick")
    given = parser.parse_args()
    for study in given.studies:
        report = Home(given.home).study(study).profile(given.profile).report
        out = given.out / (study if given.profile == "quick" else f"{study}-{given.profile}")
        keep(report, out)
        print(f"{out}:\n{(out / 'summary.md').read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()
