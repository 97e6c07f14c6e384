"""Every reference of every task is the right answer to its problem, and the ones that no parser reads are known.

That a text equals itself shows little. So a reference must also be read by math-verify, part by part, and what it
reads must equal itself; where it reads nothing, an answer is right only if it says the reference word for word, and
the task's YAML lists the problem with the reason, in ``metadata.exceptions``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from math_verify import parse, verify
from test_catalogue import written

from evals.benchmarks import Problem
from evals.harness.tasks import load_tasks
from evals.tasks import TASKS
from evals.tasks.selfcheck import check_references
from evals.verify import Verifier, golds, rules
from evals.verify.numbers import compare_numbers
from evals.verify.walk import compare_values

GENERATED = [name for name in TASKS if not name.endswith("_ll") and name != "gpqa_diamond"]
TABLE = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")


def exceptions(name: str) -> dict[str, str]:
    return written(name)["metadata"].get("exceptions", {})


@cache
def understood(text: str) -> bool:
    found = parse(f"${text}$", parsing_timeout=None)
    return any(not isinstance(value, str) for value in found) and verify(found, found, timeout_seconds=None)


def read_in_full(problem: Problem) -> bool:
    """Return whether every part of a reference is a number or read by math-verify."""
    gold = golds.read_reference(problem.answer, problem.form)
    missed = []

    def leaf(part: str, same: str) -> bool:
        if compare_numbers(part, same) is None and not understood(part):
            missed.append(part)
        return True

    return not rules.find_broken_cap(gold.text) and compare_values(gold.value, gold.value, leaf) is True and not missed


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as one:
        yield one


@pytest.mark.parametrize("name", GENERATED)
def test_every_reference_is_right(name, benchmark_data, verifier):
    (task,) = load_tasks([name], data_dir=benchmark_data)
    assert check_references(task.problems, verifier) == []


@pytest.mark.parametrize("name", [name for name in GENERATED if written(name)["process_docs"].split(".")[2] == "maths"])
def test_references_that_no_parser_reads_are_the_listed_ones(name, benchmark_data):
    (task,) = load_tasks([name], data_dir=benchmark_data)
    unread = {problem.id: problem.answer for problem in task.problems if not read_in_full(problem)}
    assert set(unread) == set(exceptions(name)), "unread, or listed and read: correct metadata.exceptions of the YAML"


def test_what_a_parser_does_not_read_is_noticed():
    assert not read_in_full(Problem("p", "?", "np.arcsin(10/13)"))
    assert not read_in_full(Problem("p", "?", "9" * 5000))
    assert read_in_full(Problem("p", "?", "\\left( 3, \\frac{\\pi}{2} \\right)"))


@pytest.mark.parametrize("name", TASKS)
def test_the_exceptions_are_documented_with_their_reasons(name):
    for problem, reason in exceptions(name).items():
        assert f"| `{problem}` | {reason} |" in TABLE
