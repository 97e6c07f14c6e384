"""Published problems to train on: local copies of the hub's schema, drawn by seed, whole or with every error."""

from __future__ import annotations

import json

import pytest

from evals.benchmarks import BENCHMARKS
from evals.rows import DataErrors
from evals.tasks.maths import GRADE_SCHOOL, PROBLEM
from evals.training_sets import DATA, DEEPSCALER, GSM8K, MATH, TrainingSet
from evals.verify import Verifier


def test_all_are_registered_pinned_and_without_a_checker():
    for name, one in (("gsm8k", GSM8K), ("math", MATH), ("deepscaler", DEEPSCALER)):
        assert BENCHMARKS.get(name) is one
        assert len(one.revision) == 40
        assert not one.checks_steps
        with pytest.raises(NotImplementedError, match="no checker of steps"):
            one.check_steps(None, ())


@pytest.fixture
def squares(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA, str(tmp_path))
    (tmp_path / "squares").mkdir()
    rows = [{"problem": f"{n} times {n}?", "solution": f"\\boxed{{{n * n}}}"} for n in range(5)]
    write(tmp_path, rows)
    return TrainingSet("squares", "some/squares", "a" * 40, PROBLEM)


def write(folder, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "squares" / "train.jsonl").write_text(text)


def test_every_problem_comes_once_before_any_comes_again(squares):
    drawn = squares.problems("train", 12, seed=3)
    assert [len({one.id for one in part}) for part in (drawn[:5], drawn[5:10], drawn[10:])] == [5, 5, 2]
    assert all(one.id.startswith("squares/train/") for one in drawn)
    assert {(one.prompt, one.answer) for one in drawn} == {(f"{n} times {n}?", str(n * n)) for n in range(5)}


def test_the_seed_decides_the_order_and_nothing_else_does(squares):
    orders = [[one.prompt for one in squares.problems("train", 10, seed)] for seed in range(4)]
    assert orders[0] == [one.prompt for one in squares.problems("train", 20, 0)][:10]
    assert len({tuple(order) for order in orders}) > 1


def test_only_the_training_split_is_there(squares):
    with pytest.raises(ValueError, match=r"no split 'test'.*splits: train"):
        squares.problems("test", 1)


def test_the_fingerprint_is_the_contents_or_the_hubs_commit(squares, tmp_path, monkeypatch):
    before = squares.fingerprint()
    assert squares.local
    write(tmp_path, [{"problem": "1 + 1?", "answer": "2"}])
    assert squares.fingerprint() != before
    monkeypatch.delenv(DATA)
    assert squares.fingerprint() == f"some/squares@{'a' * 40}"
    assert not squares.local


def test_rows_that_are_wrong_are_told_all_at_once_with_file_and_line(squares, tmp_path):
    write(tmp_path, [{"problem": "no answer"}, {"problem": "2?", "answer": "2"}, {"answer": "3"}])
    with pytest.raises(DataErrors) as told:
        squares.problems("train", 1)
    first, second = told.value.flaws
    assert "train.jsonl:1: " in first
    assert "\\boxed{…}" in first
    assert "train.jsonl:3: key 'problem' is missing" in second


def test_a_problem_that_is_there_twice_is_trained_on_once(squares, tmp_path):
    write(
        tmp_path, [{"problem": "2?", "answer": "2"}, {"problem": "2?", "answer": "2"}, {"problem": "3?", "answer": "3"}]
    )
    assert len({one.id for one in squares.problems("train", 4)}) == 2


def test_an_empty_folder_is_told(squares, tmp_path):
    write(tmp_path, [])
    with pytest.raises(DataErrors, match=f"squares: no problem to train on; see that {DATA}"):
        squares.problems("train", 1)


def test_the_hub_is_asked_for_every_configuration_at_the_commit(monkeypatch):
    asked = []

    def load(*args, **more):
        asked.append((args, more))
        return [{"problem": f"{args[1]}?", "solution": "\\boxed{1}"}]

    monkeypatch.delenv(DATA, raising=False)
    monkeypatch.setattr("datasets.load_dataset", load)
    two = TrainingSet("two", "some/two", "b" * 40, PROBLEM, configs=("x", "y"))
    assert {one.prompt for one in two.problems("train", 2)} == {"x?", "y?"}
    assert asked == [(("some/two", name), {"split": "train", "revision": "b" * 40}) for name in ("x", "y")]


def test_the_real_training_problems_of_gsm8k_verify_against_themselves(benchmark_data, monkeypatch):
    if not (benchmark_data / "gsm8k" / "train.jsonl").exists():
        pytest.skip("no gsm8k/train.jsonl among the benchmark files")
    monkeypatch.setenv(DATA, str(benchmark_data))
    real = TrainingSet("gsm8k", GSM8K.hub, GSM8K.revision, GRADE_SCHOOL)
    problems = real.problems("train", len(real._problems))
    assert len({one.id for one in problems}) == len(problems) > 7000
    with Verifier() as verifier:
        verdicts = verifier.verify([(f"\\boxed{{{one.answer}}}", one.answer) for one in problems[:1000]])
    assert all(verdict.correct for verdict in verdicts)
