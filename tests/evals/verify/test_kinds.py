"""Invented answers of many kinds, each right or wrong by its meaning; see docs/verifier.md."""

import json
from collections import defaultdict
from pathlib import Path

import pytest

from evals.verify import Form, Verifier

ROWS = [json.loads(line) for line in Path(__file__).with_name("answers.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def verdicts():
    forms = [Form(several=row["several"]) for row in ROWS]
    with Verifier(workers=2) as verifier:
        return verifier.verify([(row["completion"], row["reference"]) for row in ROWS], forms)


@pytest.mark.parametrize("kind", sorted({row["kind"] for row in ROWS}))
def test_an_answer_is_judged_by_its_meaning(verdicts, kind):
    wrongly = defaultdict(list)
    for row, verdict in zip(ROWS, verdicts, strict=True):
        if row["kind"] == kind and verdict.correct is not row["right"]:
            wrongly[f"{verdict.status}, should be {row['right']}"].append((row["reference"], row["completion"]))
    assert not wrongly


def test_there_are_right_and_wrong_ones():
    assert sum(row["right"] for row in ROWS) >= 600
    assert sum(not row["right"] for row in ROWS) >= 500
