"""Published problems to train on: local copies of the hub's schema, drawn by seed, whole or with every error."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset

from evals.benchmarks import BENCHMARKS
from evals.tasks.maths import GRADE_SCHOOL, PROBLEM
from evals.tasks.row_sets import DATA, RowSet
from evals.tasks.row_settings import ProblemRows
from evals.tasks.rows import DataErrors
from evals.tasks.training_sets import DAPO, DEEPSCALER, GSM8K, MATH, NUMINA, TrainingSet, load_named_problems
from evals.verify import Verifier


def test_all_are_registered_pinned_and_without_a_checker():
    published = {"gsm8k": GSM8K, "math": MATH, "deepscaler": DEEPSCALER, "dapo_math": DAPO, "numina_math": NUMINA}
    for name, one in published.items():
        assert BENCHMARKS.get(name) is one
        assert one.name == name
        assert len(one.rows.revision) == 40
        assert not one.checks_steps
        with pytest.raises(NotImplementedError, match="no checker of steps"):
            one.check_steps(None, ())


@pytest.fixture
def squares(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA, str(tmp_path))
    (tmp_path / "squares").mkdir()
    rows = [{"problem": f"{n} times {n}?", "solution": f"\\boxed{{{n * n}}}"} for n in range(5)]
    write(tmp_path, rows)
    return TrainingSet(RowSet("squares", "some/squares", "a" * 40), PROBLEM)


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
    assert squares.rows.local
    write(tmp_path, [{"problem": "1 + 1?", "answer": "2"}])
    assert squares.fingerprint() != before
    monkeypatch.delenv(DATA)
    assert squares.fingerprint() == f"some/squares@{'a' * 40}"
    assert not squares.rows.local


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
        return Dataset.from_list([{"problem": f"{args[1]}?", "solution": "\\boxed{1}"}])

    monkeypatch.delenv(DATA, raising=False)
    monkeypatch.setattr("datasets.load_dataset", load)
    two = TrainingSet(RowSet("two", "some/two", "b" * 40, ("x", "y")), PROBLEM)
    assert {one.prompt for one in two.problems("train", 2)} == {"x?", "y?"}
    assert asked == [(("some/two", name), {"split": "train", "revision": "b" * 40}) for name in ("x", "y")]


def test_the_real_training_problems_of_gsm8k_verify_against_themselves(benchmark_data, monkeypatch):
    if not (benchmark_data / "gsm8k" / "train.jsonl").exists():
        pytest.skip("no gsm8k/train.jsonl among the benchmark files")
    monkeypatch.setenv(DATA, str(benchmark_data))
    real = TrainingSet(GSM8K.rows, GRADE_SCHOOL)
    problems = real.problems("train", len(real.all))
    assert len({one.id for one in problems}) == len(problems) > 7000
    with Verifier() as verifier:
        verdicts = verifier.verify([(f"\\boxed{{{one.answer}}}", one.answer) for one in problems[:1000]])
    assert all(verdict.correct for verdict in verdicts)


# --- published data sets of another layout ---

_WRAPPED = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\n{}\n\n"
    'Remember to put your answer on its own line after "Answer:".'
)


def dapo_row(problem, answer, index="0"):
    return {
        "data_source": "math_dapo",
        "prompt": [{"content": _WRAPPED.format(problem), "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": answer, "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": index},
    }


def published(one, folder, monkeypatch, rows):
    """Return a published data set read from local copies of its rows, as Parquet."""
    monkeypatch.setenv(DATA, str(folder))
    (folder / one.name).mkdir()
    Dataset.from_list(rows).to_parquet(folder / one.name / "train.parquet")
    return TrainingSet(one.rows, one.layout)


def test_of_dapo_math_each_problem_is_kept_once_and_without_the_instruction(tmp_path, monkeypatch):
    rows = [dapo_row(f"What is {n} + {n}?", str(2 * n), f"{n}-{copy}") for copy in range(100) for n in range(3)]
    problems = published(DAPO, tmp_path, monkeypatch, rows).all
    assert [(one.prompt, one.answer) for one in problems] == [(f"What is {n} + {n}?", str(2 * n)) for n in range(3)]


def test_a_prompt_of_dapo_math_without_the_instruction_is_an_error(tmp_path, monkeypatch):
    rows = [dapo_row("?", "1"), {**dapo_row("?", "1"), "prompt": [{"content": "What is 1?", "role": "user"}]}]
    with pytest.raises(DataErrors, match=r"row 2: prompt is 'What is 1\?' but should hold the problem between"):
        published(DAPO, tmp_path, monkeypatch, rows).all  # noqa: B018


def numina_row(**changes):
    row = {
        "problem": "What is 1 + 1?",
        "solution": "It is $\\boxed{2}$.",
        "answer": "2",
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "problem_is_valid": "Yes",
        "solution_is_valid": "Yes",
        "source": "olympiads",
        "synthetic": False,
    }
    return row | changes


def test_of_numina_math_only_valid_problems_with_one_answer_are_kept(tmp_path, monkeypatch):
    left_out = [
        *({"answer": answer} for answer in ("proof", "notfound", "", None)),
        *({"question_type": kind} for kind in ("proof", "MCQ", None)),
        *({"problem_is_valid": "Incomplete"}, {"solution_is_valid": "Problem not solved"}),
        {"answer": "Both of them can be had with one more cut along the longer of the two sides"},
    ]
    rows = [numina_row()] + [numina_row(problem=f"p{n}", **changes) for n, changes in enumerate(left_out)]
    assert [one.answer for one in published(NUMINA, tmp_path, monkeypatch, rows).all] == ["2"]


def test_of_published_problems_that_contradict_each_other_none_is_kept(squares, tmp_path):
    rows = [("1 + 1?", "2"), ("1 + 1?", "3"), ("2?", "2"), (" 2? ", "2.0"), ("half?", "\\frac{1}{2}"), ("half?", "0.5")]
    write(tmp_path, [{"problem": problem, "answer": answer} for problem, answer in rows])
    assert [one.prompt for one in squares.all] == ["2?", "half?"]


# --- rows that a study names ---


@pytest.fixture
def named(tmp_path):
    """Return the problems of a file with these rows."""

    def read(rows, name="mine.jsonl", **columns):
        path = tmp_path / name
        if name.endswith(".parquet"):
            Dataset.from_list(rows).to_parquet(path)
        elif name.endswith(".csv"):
            Dataset.from_list(rows).to_csv(path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_named_problems(ProblemRows(file=str(path), **columns))

    return read


ROWS = [{"q": "1 + 1?", "a": "2"}, {"q": "A half?", "a": "1/2"}]


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.parquet", "mine.csv"])
def test_the_rows_decide_the_fingerprint_and_neither_format_nor_place_nor_other_columns_do(named, name):
    one = named(ROWS, problem="q", answer="a")
    other = named([{"problem": row["q"], "answer": row["a"], "more": n} for n, row in enumerate(ROWS)], f"other-{name}")
    assert [(problem.prompt, problem.answer) for problem in one.all] == [("1 + 1?", "2"), ("A half?", "1/2")]
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != named([*ROWS, {"q": "3?", "a": "3"}], problem="q", answer="a").fingerprint()


def test_a_file_that_is_written_again_is_read_again(named):
    before = named(ROWS, problem="q", answer="a")
    assert named(ROWS, problem="q", answer="a").all == before.all
    assert len(named(ROWS[:1], problem="q", answer="a").all) == 1


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"q": "2?"}, "mine.jsonl:3: key 'a' is missing; the row has q"),
        ({"q": "2?", "a": None}, "mine.jsonl:3: answer is None and the solution boxes none; give the answer"),
        ({"q": "2?", "a": float("nan")}, "mine.jsonl:3: answer is nan and the solution boxes none"),
        ({"q": "2?", "a": "  "}, "mine.jsonl:3: answer is '  ' and the solution boxes none"),
        ({"q": "", "a": "2"}, "mine.jsonl:3: q is '' but should have at least 1 character"),
        ({"q": "1  +  1?", "a": "3"}, "mine.jsonl:3: answer is '3', and the same problem has '2' at {0}/mine.jsonl:1"),
        ({"q": "2?", "a": "9" * 61}, "mine.jsonl:3: answer '999"),
        ({"q": "2?", "a": "$$"}, "mine.jsonl:3: answer '$$' holds no answer; write the final answer alone"),
        ({"q": "2?", "a": [2]}, "mine.jsonl:3: a is [2] but should be a valid string"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_an_error_with_its_line(named, tmp_path, row, told):
    with pytest.raises(DataErrors) as found:
        named([*ROWS, row], problem="q", answer="a").all  # noqa: B018
    assert found.value.flaws[0].startswith(f"{tmp_path}/{told.format(tmp_path)}")


def test_the_same_answer_written_otherwise_is_no_contradiction(named):
    rows = [*ROWS, {"q": "A  half?", "a": "\\frac{1}{2}"}, {"q": "1 + 1?", "a": "2.0"}]
    assert len(named(rows, problem="q", answer="a").all) == 2


def test_a_file_in_the_manner_of_gsm8k_is_read_by_its_last_line(named):
    assert (
        named([{"q": "How many?", "a": "1,000 + 80 = 1,080\n#### 1,080"}], problem="q", answer="a").all[0].answer
        == "1080"
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "file is None and hub is None; name a file or a dataset of the hub"),
        ({"file": "a.jsonl", "hub": "a/b"}, "file is 'a.jsonl' and hub is 'a/b'"),
        ({"hub": "a/b"}, "hub 'a/b' has no revision, and what a branch holds changes; set revision to a commit"),
        ({"hub": "a/b", "revision": "main"}, "should match pattern"),
        ({"file": "a.jsonl", "config": "x"}, "a file has neither; remove them"),
    ],
)
def test_rows_are_named_in_one_place_and_for_good(settings, told):
    with pytest.raises(ValueError, match=told.replace("(", "\\(")):
        ProblemRows(**settings)


def test_a_dataset_of_the_hub_is_known_by_its_commit_without_being_loaded(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", None)
    one, other = (load_named_problems(ProblemRows(hub="a/b", revision=digit * 40)).fingerprint() for digit in "ab")
    assert one != other
    assert "a/b" in one


def test_a_dataset_of_the_hub_is_read_like_a_file(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **more: Dataset.from_list([{"q": "1 + 1?", "a": 2}]))
    rows = load_named_problems(ProblemRows(hub="a/b", revision="c" * 40, problem="q", answer="a"))
    assert [(one.prompt, one.answer) for one in rows.all] == [("1 + 1?", "2")]
    changed = load_named_problems(ProblemRows(hub="a/b", revision="c" * 40, problem="question", answer="a"))
    with pytest.raises(DataErrors, match=r"a/b \(train\), row 1: key 'question' is missing; the row has q, a"):
        changed.all  # noqa: B018
