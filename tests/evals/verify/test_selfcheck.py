"""Every reference must be judged equal to itself: of a benchmark's real file, and what happens where one is not."""

import json
from pathlib import Path

import pytest

from evals.benchmarks import Problem
from evals.tasks.selfcheck import check_references
from evals.verify import Form, Verifier
from evals.verify.answers import read_boxed


def test_references_that_cannot_be_matched_are_returned() -> None:
    problems = [
        Problem("a/1", "?", r"\frac{1}{2}"),
        Problem("a/2", "?", ""),
        Problem("a/3", "?", "B", Form("choice", options=("x", "y"))),
        Problem("a/4", "?", "x}{"),
        Problem("a/5", "?", "1,2", Form(several=True)),
    ]
    with Verifier() as verifier:
        assert [problem.id for problem in check_references(problems, verifier)] == ["a/2", "a/4"]


@pytest.mark.parametrize("name", ["math500", "aime24", "aime25", "amc23", "minerva_math", "olympiadbench"])
def test_the_real_references_equal_themselves(name: str, benchmark_data: Path) -> None:
    path = benchmark_data / name / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    problems = []
    for number, row in enumerate(rows):
        several, unit = row.get("is_multiple_answer", False), row.get("unit")
        answer = row["final_answer"][0] if "final_answer" in row else row.get("answer", None)
        answer = read_boxed(row["solution"]) if answer is None else str(answer)
        problems.append(Problem(f"{name}/{number}", "?", answer or "", Form(several=several, unit=unit)))
    with Verifier() as verifier:
        assert check_references(problems, verifier) == []
