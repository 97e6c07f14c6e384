"""Demonstrations of published data sets and of rows that a study names."""

from __future__ import annotations

import json

import pytest

from evals.tasks.demonstrations import Demonstration, DemonstrationSet
from evals.tasks.named import find_demonstrations
from evals.tasks.row_sets import DATA
from evals.tasks.row_settings import DEMONSTRATIONS, DemonstrationRows
from evals.tasks.rows import DataErrors
from evals.verify import Verifier

NUMINA = {
    "problem": "1 + 1?",
    "solution": "It is $\\boxed{2}$.",
    "answer": "2",
    "question_type": "math-word-problem",
    "problem_is_valid": "Yes",
    "solution_is_valid": "Yes",
}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Return the demonstrations of a published data set that has these rows."""
    monkeypatch.setenv(DATA, str(tmp_path))

    def read(name, *rows):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        one = DEMONSTRATIONS.get(name)
        return DemonstrationSet(one.rows, one.layout).all

    return read


def test_gsm8k_is_written_as_the_harness_asks_for_it(published):
    answer = "Ann sold 48/2 = <<48/2=24>>24 clips. \nShe sold 48+24 = <<48+24=72>>1,072 in all.\n#### 1,072"
    (shown,) = published("gsm8k", {"question": "How many clips?", "answer": answer})
    assert shown == Demonstration(
        "How many clips?",
        "Ann sold 48/2 = 24 clips.\n\nShe sold 48+24 = 1,072 in all.\n\nThe answer is \\boxed{1072}.",
    )


def test_solutions_of_math_stand_as_they_are_and_those_of_numina_where_they_are_valid(published):
    assert published("math", {"problem": "1 + 1?", "solution": " It is $\\boxed{2}$.\n"}) == [
        Demonstration("1 + 1?", "It is $\\boxed{2}$.")
    ]
    rows = [NUMINA, {**NUMINA, "solution_is_valid": "Incomplete"}, {**NUMINA, "question_type": "proof"}]
    assert published("numina_math", *rows) == [Demonstration("1 + 1?", "It is $\\boxed{2}$.")]


def test_what_gsm8k_demonstrates_is_right(benchmark_data, monkeypatch):
    if not (benchmark_data / "gsm8k" / "train.jsonl").exists():
        pytest.skip("no gsm8k/train.jsonl among the benchmark files")
    from evals.tasks.training_sets import GSM8K

    monkeypatch.setenv(DATA, str(benchmark_data))
    one = DEMONSTRATIONS.get("gsm8k")
    answers = {problem.prompt: problem.answer for problem in type(GSM8K)(GSM8K.rows, GSM8K.layout).all}
    shown = DemonstrationSet(one.rows, one.layout).all[:500]
    with Verifier() as verifier:
        verdicts = verifier.verify([(each.completion, answers[str(each.prompt)]) for each in shown])
    assert all(verdict.correct for verdict in verdicts)
    assert not any("<<" in each.completion or "####" in each.completion for each in shown)


@pytest.fixture
def named(tmp_path):
    """Return the demonstrations of a file with these rows."""

    def read(*rows, name="sft.jsonl", **columns):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return find_demonstrations(DemonstrationRows(file=str(tmp_path / name), **columns))

    return read


def test_a_prompt_is_a_problem_or_turns_and_a_completion_a_text_or_the_last_turn(named):
    rows = [
        {"prompt": "1 + 1?", "completion": "2"},
        {"prompt": [{"role": "user", "content": "1 + 1?"}], "completion": [{"role": "assistant", "content": "2"}]},
    ]
    assert named(*rows).all == [Demonstration("1 + 1?", "2"), Demonstration((("user", "1 + 1?"),), "2")]


def test_of_a_conversation_the_last_turn_is_learnt(named):
    turns = [("system", "Be short."), ("user", "1?"), ("assistant", "1"), ("user", "2?"), ("assistant", "2")]
    row = {"talk": [{"role": role, "content": text} for role, text in turns], "id": 7}
    assert named(row, messages="talk").all == [Demonstration(tuple(turns[:-1]), "2")]


def test_the_rows_decide_the_fingerprint_and_no_other_column_does(named):
    one = named({"q": "1?", "a": "1"}, prompt="q", completion="a").fingerprint()
    assert one == named({"prompt": "1?", "completion": "1", "more": 2}, name="other.jsonl").fingerprint()
    assert one != named({"prompt": "1?", "completion": "2"}, name="third.jsonl").fingerprint()


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "", "completion": "1"}, "prompt is '': nothing is asked; write the problem"),
        ({"prompt": "1?", "completion": ""}, "completion is '': nothing to learn; write what the model should write"),
        ({"prompt": "1?"}, "key 'completion' is missing; the row has prompt"),
        ({"prompt": "1?", "completion": None}, "completion is None but should be a valid string; correct the row"),
        (
            {"prompt": "1?", "completion": [{"role": "user", "content": "1"}]},
            "the last turn is '1' of 'user' but should be a text of the assistant, which is what is learnt; end the",
        ),
    ],
)
def test_a_row_that_teaches_nothing_is_an_error_with_its_line(named, tmp_path, row, told):
    with pytest.raises(DataErrors) as found:
        named({"prompt": "1?", "completion": "1"}, row).all  # noqa: B018
    assert found.value.flaws[0].startswith(f"{tmp_path}/sft.jsonl:2: {told}")
