"""The kept results answer what their studies ask: a variant that beats the baseline, or nothing that could be seen."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results"
BOUND = {"voting": 10.0, "voting-full": 5.0}
"""Points of greedy accuracy: a study that shows no difference must have been able to see one of this size."""
ASKED = "vote=majority"


def read_row(study: str, table: str) -> dict[str, str]:
    """Return the row of the variant that is asked about."""
    (file,) = (RESULTS / study / "tables").glob(table)
    with file.open(encoding="utf-8") as lines:
        return next(row for row in csv.DictReader(lines) if row["variant"] == ASKED)


@pytest.mark.parametrize("study", BOUND)
def test_a_study_answers_its_question(study: str) -> None:
    found = read_row(study, "01-coins-test-accuracy.csv")
    low = found["difference to grpo_rule"].partition("[")[2].partition(",")[0].replace("−", "-")
    beats = float(low) > 0 and float(found["Holm p"].lstrip("< ")) < 0.05
    power = read_row(study, "*-power-on-coins-test-accuracy-*.csv")
    assert beats or float(power["detectable (80 %)"].replace(",", "")) <= BOUND[study]


@pytest.mark.parametrize("study", sorted(path.name for path in RESULTS.iterdir() if path.is_dir()))
def test_a_kept_result_is_a_finished_study(study: str) -> None:
    report = (RESULTS / study / "report.md").read_text(encoding="utf-8")
    assert re.search(r"\b(\d+) of \1 trials finished", report)
    assert re.search(r"^## (The answer in full|Answer)$", report, re.MULTILINE)
    assert "trials are missing" not in report
