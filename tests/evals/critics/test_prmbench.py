"""PRMBench: error steps count from 1, every step has a label."""

from __future__ import annotations

import json

import pytest

from evals.critics.data import Selection
from evals.critics.prmbench import OUTSIDE, PRMBENCH
from evals.tasks.rows import DataErrors

ROW = {
    "idx": "p0",
    "classification": "circular",
    "original_question": "?",
    "modified_question": "? now",
    "modified_process": ["a", "b", "c"],
    "error_steps": [2, 3],
}


def loaded(tmp_path, *rows, **selection):
    path = tmp_path / "target_data.jsonl"
    path.write_text("".join(json.dumps({**ROW, **row}) + "\n" for row in rows), encoding="utf-8")
    return PRMBENCH.load(Selection(source=tmp_path, **selection))


def test_labels_of_a_row(tmp_path):
    (solution,) = loaded(tmp_path, {}).solutions
    assert (solution.labels.wrong, solution.labels.labelled) == ({1, 2}, {0, 1, 2})
    assert (solution.subset, solution.labels.group, solution.problem.prompt) == ("circular", "p0", "? now")


def test_rows_that_point_outside_are_left_out_and_counted(tmp_path):
    found = loaded(tmp_path, {}, {"error_steps": [4]}, {"error_steps": [0]}, {"error_steps": []})
    assert [solution.labels.wrong for solution in found.solutions] == [{1, 2}, set()]
    assert found.left_out == {OUTSIDE: 2}


def test_subsets_are_the_kinds_in_the_file(tmp_path):
    rows = [{}, {"classification": "deception"}]
    assert [s.subset for s in loaded(tmp_path, *rows, subsets=("deception",)).solutions] == ["deception"]
    with pytest.raises(
        DataErrors, match=r"unknown subset 'decption' .did you mean 'deception'.*; known: circular, dec"
    ):
        loaded(tmp_path, *rows, subsets=("decption",))


def test_several_files_are_not_guessed_among(tmp_path):
    loaded(tmp_path, {})
    (tmp_path / "other.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataErrors, match=r"no file for subset ''; .* name the file itself"):
        PRMBENCH.load(Selection(source=tmp_path))


def test_the_real_file(benchmark_data):
    found = PRMBENCH.load(Selection(source=benchmark_data))
    lines = (benchmark_data / "prmbench" / "target_data.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {f"prmbench/{row['classification']}/{row['idx']}": row for row in map(json.loads, lines)}
    assert len(found.solutions) + found.left_out[OUTSIDE] == len(lines) == len(rows)
    for solution in found.solutions:
        assert sorted(solution.labels.wrong) == [step - 1 for step in sorted(rows[solution.id]["error_steps"])]
    assert all(not s.labels.wrong for s in found.solutions if s.subset == "multi_solutions")
