"""ProcessBench: the label is the first wrong step, and what follows it has none."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from evals.critics.data import Selection
from evals.critics.processbench import PROCESSBENCH, SUBSETS
from evals.tasks.rows import DataErrors

ROW = {"id": "math-1", "generator": "m", "problem": "?", "steps": ["a", "b", "c"], "final_answer_correct": False}


def loaded(tmp_path, *rows, **selection):
    (tmp_path / "math.json").write_text(json.dumps(rows), encoding="utf-8")
    return PROCESSBENCH.load(Selection(("math",), tmp_path, **selection))


@pytest.mark.parametrize(
    ("label", "wrong", "labelled"), [(-1, set(), {0, 1, 2}), (0, {0}, {0}), (1, {1}, {0, 1}), (2, {2}, {0, 1, 2})]
)
def test_labels_of_a_row(tmp_path, label, wrong, labelled):
    (solution,) = loaded(tmp_path, {**ROW, "label": label}).solutions
    assert (solution.labels.wrong, solution.labels.labelled) == (wrong, labelled)
    assert (solution.id, solution.subset, solution.steps) == ("processbench/math-1", "math", ("a", "b", "c"))
    assert solution.problem.answer == ""


def test_solutions_of_one_problem_share_chance(tmp_path):
    rows = (
        {**ROW, "label": -1},
        {**ROW, "id": "math-2", "label": 0},
        {**ROW, "id": "math-3", "problem": "!", "label": 0},
    )
    first, second, other = (solution.labels.group for solution in loaded(tmp_path, *rows).solutions)
    assert first == second != other


def test_all_wrong_rows_are_told(tmp_path):
    with pytest.raises(DataErrors) as errors:
        loaded(tmp_path, {**ROW, "label": 3}, {**ROW, "label": -1}, {**ROW, "label": "0"}, {**ROW, "steps": []})
    path = tmp_path / "math.json"
    assert str(errors.value).splitlines() == [
        f"{path}, row 1: label is 3 but there are 3 steps, numbered from 0; give the first wrong step, or -1 for none",
        f"{path}, row 3: label is '0' but should be a valid integer; correct the row",
        f"{path}, row 4: steps is [] but should have at least 1 item after validation, not 0; correct the row",
        f"{path}, row 4: key 'label' is missing; the row has id, generator, problem, steps, final_answer_correct",
    ]


def test_a_subset_without_a_file_is_told_with_the_others(tmp_path):
    (tmp_path / "math.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataErrors) as errors:
        PROCESSBENCH.load(Selection(("math", "gsm8k", "omnimath"), tmp_path))
    first, second = str(errors.value).splitlines()
    assert first.startswith(f"--data-dir {tmp_path}: no file for subset 'gsm8k'; it is expected as processbench/gsm8k")
    assert "'omnimath'" in second


def test_the_real_files(benchmark_data):
    found = PROCESSBENCH.load(Selection(source=benchmark_data)).solutions
    assert {solution.subset for solution in found} == set(SUBSETS)
    assert len({solution.id for solution in found}) == len(found)
    assert all(len(solution.labels.wrong) <= 1 for solution in found)
    sizes = Counter(solution.subset for solution in found)
    few = PROCESSBENCH.load(Selection(source=benchmark_data, limit=80)).solutions
    assert Counter(solution.subset for solution in few) == dict.fromkeys(SUBSETS, 20)
    for subset in SUBSETS:
        whole, part = (
            sum(bool(s.labels.wrong) for s in rows if s.subset == subset) / size
            for rows, size in ((found, sizes[subset]), (few, 20))
        )
        assert part == pytest.approx(whole, abs=0.5 / 20)
