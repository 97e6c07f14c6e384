"""What a study may train and measure on: rows are read before anything runs, and each fault is told with its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from datasets import Dataset

from capo_bench.cli import main
from capo_bench.study.errors import StudyError
from capo_bench.study.load import load_plan

STUDY = """\
name: own
question: Does it learn?
baseline: base
base:
  method: grpo_rule
  benchmark: {file: train.jsonl, problem: question}
  cold_start: {demonstrations: {file: sft.jsonl}, learning_rate: 1e-3}
  evaluation: {tasks: [mine], rows: {mine: {file: test.csv}}}
metrics: [mine/accuracy]
"""
LONG = "Ann has 3 coins and finds 4 more of them in the old box below her bed, how many has she now?"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study with rows to train and to measure on; one problem of the two is among the training rows."""
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(STUDY)
    Path("train.jsonl").write_text(json.dumps({"question": f"Careful: {LONG}", "answer": 7}) + "\n")
    Path("sft.jsonl").write_text(json.dumps({"prompt": "1 + 1?", "completion": "\\boxed{2}"}) + "\n")
    Path("test.csv").write_text(f'problem,answer\n"{LONG}",7\n1 + 1?,2\n2 + 2?,4\n')
    return tmp_path


def test_every_fault_is_told_at_once_with_the_line_of_the_study_and_of_the_file(
    rows: Path, errors: Callable[..., list[StudyError]]
) -> None:
    Path("train.jsonl").write_text('{"question": "1 + 1?"}\n{"Question": "?", "answer": "2"}\n')
    Path("sft.jsonl").write_text('{"prompt": "1?", "completion": " "}\n')
    Path("test.csv").unlink()
    assert [str(one) for one in errors(STUDY)] == [
        "study.yaml:6: benchmark: train.jsonl:1: answer is None and the solution boxes none; give the answer, or a "
        "solution with \\boxed{…}",
        "study.yaml:6: benchmark: train.jsonl:2: key 'question' is missing (did you mean 'Question'?); the row has "
        "Question, answer",
        "study.yaml:7: cold_start.demonstrations: sft.jsonl:1: completion is ' ': nothing to learn; write what the "
        "model should write",
        "study.yaml:8: evaluation.rows.mine: test.csv: there is no such file; correct its name",
    ]


def test_bad_rows_end_every_command_with_exit_code_2(rows: Path) -> None:
    Path("train.jsonl").write_text("")
    for command in ("plan", "run", "validate"):
        done = CliRunner().invoke(main, [command, "own.yaml"])
        assert done.exit_code == 2
        assert "own.yaml:6: benchmark: train.jsonl: holds no problem to train on; name a file that holds some" in (
            done.stderr
        )


def test_a_dataset_of_the_hub_whose_columns_changed_ends_a_run_before_it_begins(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan loads nothing from the hub; a run does, before its first trial."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(rows / "hub"))
    changed = Dataset.from_list([{"question": "1 + 1?", "Answer": "2"}] * 9)
    monkeypatch.setattr("datasets.load_dataset", lambda *args, **more: changed)
    hub = ["--set", f"benchmark={{hub: org/maths, revision: {'a' * 40}, problem: question, answer: answer}}"]
    assert (
        CliRunner().invoke(main, ["plan", "own.yaml", *hub], env={"COLUMNS": "300"}, catch_exceptions=False).exit_code
        == 0
    )
    done = CliRunner().invoke(main, ["run", "own.yaml", *hub], env={"COLUMNS": "300"}, catch_exceptions=False)
    assert done.exit_code == 2
    assert done.stderr == (
        "org/maths (train), row 1 (and 8 more rows): key 'answer' is missing (did you mean 'Answer'?); the row has "
        "question, Answer\n"
    )
    assert not Path("results/trials").exists()


def test_a_plan_says_which_problems_are_trained_on(rows: Path) -> None:
    done = CliRunner().invoke(main, ["plan", "own.yaml"], env={"COLUMNS": "300"}, catch_exceptions=False)
    assert done.exit_code == 0
    lines = [line for line in done.stdout.splitlines() if line.startswith("contamination")]
    benchmark, shown = lines
    found = "1 of 3 problems of mine share 13 words in a row with a training row (as mine/"
    assert benchmark.startswith(f"contamination by benchmark rows, 1 row: {found}")
    assert shown.startswith(f"contamination by demonstrations rows, 1 row: {found}")


def test_a_problem_that_cannot_be_read_here_is_said_to_be_unchecked(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(rows / "hub"))
    done = CliRunner().invoke(
        main, ["plan", "own.yaml", "--set", "benchmark=numina_math"], env={"COLUMNS": "300"}, catch_exceptions=False
    )
    assert "numina_math, 0 rows: not compared with mine: the training rows are not on this machine yet\n" in done.stdout
    tasks = "evaluation.tasks=[mine, aime24, math500]"
    done = CliRunner().invoke(
        main, ["plan", "own.yaml", "--set", tasks], env={"COLUMNS": "300"}, catch_exceptions=False
    )
    assert "; not compared with aime24, math500: they are not on this machine yet\n" in done.stdout


def test_problems_of_coins_are_drawn_and_compared_with_nothing(rows: Path) -> None:
    plain = ["--set", "benchmark=coins", "--set", "cold_start={}"]
    done = CliRunner().invoke(main, ["plan", "own.yaml", *plain], env={"COLUMNS": "300"}, catch_exceptions=False)
    assert "contamination" not in done.stdout


def test_conversations_want_a_chat_template(rows: Path, errors: Callable[..., list[StudyError]]) -> None:
    sets = ["cold_start={demonstrations: {file: sft.jsonl, messages: talk}}"]
    told = [str(one) for one in errors(STUDY, sets=sets)]
    assert len(told) == 2
    assert told[0].endswith(
        "column 'talk' holds conversations, and backbone 'tiny' has template 'bare'; give the backbone "
        "template: chat, or name columns of problems and solutions (prompt, completion)"
    )
    assert told[1].endswith("sft.jsonl:1: key 'talk' is missing; the row has prompt, completion")


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ([{"role": "user", "content": "1?"}], "talk is [{'role': 'user', 'content': '1?'}] but should have at least 2"),
        ([{"role": "user", "content": "1?"}] * 2, "the last turn is '1?' of 'user' but should be a text of the"),
        (
            [{"role": "user", "content": "1?"}, {"role": "robot", "content": "2"}],
            "role is 'robot' but should be system, user or assistant; correct the turn",
        ),
    ],
)
def test_a_conversation_that_teaches_nothing_is_an_error(
    rows: Path, errors: Callable[..., list[StudyError]], turns: list[dict[str, str]], told: str
) -> None:
    Path("sft.jsonl").write_text(json.dumps({"talk": turns}) + "\n")
    sets = ["cold_start={demonstrations: {file: sft.jsonl, messages: talk}}"]
    assert f"cold_start.demonstrations: sft.jsonl:1: {told}" in str(errors(STUDY, sets=sets)[-1])


def test_own_rows_have_names_of_their_own(rows: Path, errors: Callable[..., list[StudyError]]) -> None:
    found = errors(STUDY, sets=["evaluation={tasks: [gsm8k], rows: {gsm8k: {file: test.csv}}}"])
    told = "a task or suite 'gsm8k' ships with capo-bench or a package; rename your rows"
    assert any(told in str(one) for one in found)


def test_a_task_that_is_neither_shipped_nor_named_is_told_with_what_there_is(
    rows: Path, errors: Callable[..., list[StudyError]]
) -> None:
    found = errors(STUDY, sets=["evaluation.tasks=[mime]"])
    assert "unknown task or suite 'mime' (did you mean 'mine'?)" in str(found[0])


def test_the_plan_of_rows_is_the_same_wherever_they_are(rows: Path) -> None:
    before = [trial.id for trial in load_plan("own.yaml").trials]
    Path("data").mkdir()
    for name in ("train.jsonl", "sft.jsonl", "test.csv"):
        Path(name).rename(Path("data") / name)
    Path("own.yaml").write_text(STUDY.replace("{file: ", "{file: data/"))
    assert [trial.id for trial in load_plan("own.yaml").trials] == before
