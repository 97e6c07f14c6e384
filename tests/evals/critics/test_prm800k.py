"""PRM800K: three layouts, one tree of ratings, each rating counted once."""

from __future__ import annotations

import json

import pytest

from evals.critics.data import Selection
from evals.critics.prm800k import PRM800K
from evals.tasks.rows import DataErrors


def stepwise(before, text, rating):
    return {"instruction": "?", "responses": before, "next_response": text, "rating": rating, "answer": None}


STEPWISE = [
    stepwise([], "a", 1),
    stepwise(["a"], "bad", -1),
    stepwise(["a"], "b", 0),
    stepwise(["a", "b"], "end", 1),
    stepwise(["a", "b"], "odd", None),
]
SESSION = {
    "question": {"problem": "?", "ground_truth_answer": "7"},
    "label": {
        "steps": [
            {"completions": [{"text": "a", "rating": 1}], "human_completion": None, "chosen_completion": 0},
            {
                "completions": [{"text": "bad", "rating": -1}, {"text": "b", "rating": 0}],
                "human_completion": None,
                "chosen_completion": 1,
            },
            {
                "completions": [{"text": "end", "rating": 1}, {"text": "odd", "rating": None}],
                "human_completion": None,
                "chosen_completion": None,
            },
        ]
    },
}


def loaded(tmp_path, rows, **selection):
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return PRM800K.load(Selection(source=tmp_path, **selection)).solutions


def told(solutions):
    return [(s.steps, sorted(s.labels.wrong), sorted(s.labels.labelled)) for s in solutions]


@pytest.mark.parametrize("rows", [STEPWISE, [SESSION]])
def test_the_longest_way_has_its_labels_and_an_alternative_that_of_its_last_step(tmp_path, rows):
    solutions = loaded(tmp_path, rows)
    assert told(solutions) == [(("a", "b", "end"), [], [0, 2]), (("a", "bad"), [1], [1])]
    assert {s.labels.group for s in solutions} == {"prm800k/test/0"}


@pytest.mark.parametrize("rows", [STEPWISE, [SESSION]])
def test_neutral_can_count_as_right(tmp_path, rows):
    first, _ = loaded(tmp_path, rows, neutral="right")
    assert first.labels.labelled == {0, 1, 2}
    assert not first.labels.wrong


def test_the_reference_answer_comes_from_the_original_layout_alone(tmp_path):
    assert loaded(tmp_path, [SESSION])[0].problem.answer == "7"
    assert loaded(tmp_path, STEPWISE)[0].problem.answer == ""


def test_a_human_step_is_gone_on_with_and_has_no_rating(tmp_path):
    step = {"completions": [{"text": "x", "rating": -1}], "human_completion": {"text": "h", "rating": None}}
    steps = [
        {**step, "chosen_completion": None},
        {"completions": [{"text": "y", "rating": 1}], "human_completion": None, "chosen_completion": 0},
        {"completions": None, "human_completion": None, "chosen_completion": None},
    ]
    row = {"question": {"problem": "?", "ground_truth_answer": None}, "label": {"steps": steps}}
    assert told(loaded(tmp_path, [row])) == [(("h", "y"), [], [1]), (("x",), [0], [0])]


def test_completions_with_labels(tmp_path):
    row = {"prompt": "?", "completions": ["a", "b"], "labels": [True, False]}
    assert told(loaded(tmp_path, [row])) == [(("a", "b"), [1], [0, 1])]


def test_what_raters_disagree_on_has_no_label(tmp_path):
    assert loaded(tmp_path, [stepwise([], "a", 1), stepwise([], "a", -1), stepwise(["a"], "b", 1)])[
        0
    ].labels.labelled == {1}


def test_all_wrong_rows_are_told(tmp_path):
    late = {"completions": [], "human_completion": None, "chosen_completion": 0}
    rows = [
        stepwise([], "a", 2),
        {"prompt": "?", "completions": ["a"], "labels": []},
        {"question": {"problem": "?"}, "label": {"steps": [late]}},
        {"text": "?"},
    ]
    with pytest.raises(DataErrors) as errors:
        loaded(tmp_path, rows)
    path = tmp_path / "test.jsonl"
    assert str(errors.value).splitlines() == [
        f"{path}:1: rating is 2 but should be -1, 0 or 1; correct the row",
        f"{path}:2: 1 completions but 0 labels; give each completion one label",
        f"{path}:3: chosen_completion is 0 of 0 completions, numbered from 0; name one of them, or null",
        f"{path}:4: has text but none of 'next_response' or 'label' or 'labels'; see docs/measuring-critics.md",
    ]


def test_the_real_files_count_every_rating_once(benchmark_data):
    import pyarrow.parquet

    path = benchmark_data / "prm800k" / "phase1_test.stepwise-critic.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rated = {(r["instruction"], *r["responses"], r["next_response"]): r["rating"] for r in rows if r["rating"]}
    solutions = PRM800K.load(Selection(source=benchmark_data)).solutions  # the split's name is in the file's
    assert sum(len(s.labels.labelled) for s in solutions) == len(rated)
    assert sum(len(s.labels.wrong) for s in solutions) == sum(rating < 0 for rating in rated.values())
    assert len({s.id for s in solutions}) == len(solutions)


def test_the_original_layouts_real_rows(benchmark_data):
    path = benchmark_data / "prm800k" / "samples_prm800k.jsonl"
    solutions = PRM800K.load(Selection(source=path)).solutions
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    answers = {line["question"]["problem"]: line["question"]["ground_truth_answer"] or "" for line in lines}
    assert {s.problem.prompt: s.problem.answer for s in solutions} == answers
    steps = [step for line in lines for step in line["label"]["steps"]]
    wrong = sum(c["rating"] == -1 for step in steps for c in step["completions"] or [])
    assert sum(len(s.labels.wrong) for s in solutions) == wrong
