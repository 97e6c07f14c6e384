"""Tasks as the harness gets them: problems, prompts and settings of lm-eval's YAMLs, from local files or the hub."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from evals.coins import COINS
from evals.harness.tasks import load_tasks, sample
from evals.models.base import Sampling
from evals.models.prompt import INSTRUCTION
from evals.registry import UnknownNameError
from evals.tasks.rows import DataErrors
from evals.verify import Form

AIME = [{"id": n, "problem": f"{n} + 1?", "answer": str(n + 1), "url": "…"} for n in range(60, 70)]
ARC = {"id": "M_1", "question": "Why?", "choices": {"text": ["it is", "no"], "label": ["1", "2"]}, "answerKey": "2"}
GPQA = {"Question": "Why?", "Correct Answer": "so"} | {f"Incorrect Answer {n}": f"no {n}" for n in (1, 2, 3)}


@pytest.fixture
def data(tmp_path):
    """Return a function that writes a benchmark's file of rows and returns the folder of the benchmarks' folders."""

    def write(folder, *rows, name="test.jsonl"):
        (tmp_path / folder).mkdir(exist_ok=True)
        text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
        (tmp_path / folder / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def loaded(name, folder, **options):
    (task,) = load_tasks([name], data_dir=folder, **options)
    return task


def test_a_task_of_generated_answers(data):
    task = loaded("aime24", data("aime24", *AIME))
    assert (task.name, task.version, task.output, task.samples) == ("aime24", "1", "generate", 32)
    assert task.sampling == Sampling(temperature=0.6, top_p=0.95, max_tokens=4096)
    assert (task.checker, task.source, task.queries) == (None, "aime24/test.jsonl", ())
    first = task.problems[0]
    assert (first.id, first.prompt, first.answer, first.form) == ("aime24/60", "60 + 1?", "61", Form())


def test_greedy_tasks_say_so(data):
    task = loaded("gsm8k", data("gsm8k", {"question": "1+1?", "answer": "#### 2"}))
    assert (task.greedy, task.samples) == (True, 0)
    assert task.sampling == Sampling(temperature=1.0, top_p=1.0, max_tokens=2048)  # for who asks for samples


def test_a_choice_lists_its_options_and_leaves_the_instruction_to_the_template(data):
    (problem,) = loaded("arc_challenge", data("arc_challenge", ARC)).problems
    assert problem.prompt == "Why?\n\nA. it is\nB. no\n\nWhich option is right? Answer with its letter."
    assert INSTRUCTION not in problem.prompt
    assert (problem.answer, problem.form) == ("B", Form("choice", options=("it is", "no")))


def test_a_choice_by_likelihood_has_its_contexts_and_continuations(data):
    task = loaded("arc_challenge_ll", data("arc_challenge", ARC))
    assert (task.output, task.greedy, task.samples, task.checker) == ("choose", True, 0, None)
    assert task.queries == (("Question: Why?\nAnswer:", (" it is", " no")),)
    assert (task.problems[0].id, task.problems[0].answer) == ("arc_challenge/M_1", "B")


def test_letters_are_the_continuations_where_the_options_are_shown(data):
    (query,) = loaded("gpqa_diamond_ll", data("gpqa_diamond", GPQA, name="gpqa_diamond.jsonl")).queries
    assert query[0].startswith("Question: Why?\nA. ")
    assert query[0].endswith("\nAnswer:")
    assert query[1] == (" A", " B", " C", " D")


def test_coins_are_those_that_were_always_drawn():
    for split in ("test", "longer", "distractors", "unseen"):
        task = loaded(f"coins_{split}", None, limit=20)
        assert list(task.problems) == COINS.problems(split, 20)
        assert (task.checker, task.greedy, task.samples) == ("coins", True, 8 if split == "test" else 0)
        assert task.sampling == Sampling(temperature=1.0, top_p=1.0, max_tokens=96)


def test_coins_are_256_unless_another_number_is_asked_for():
    assert len(loaded("coins_test", None).problems) == 256
    assert len(loaded("coins_test", None, limit=300).problems) == 300


def test_a_limit_takes_a_sample_that_only_grows(data):
    folder = data("aime24", *AIME)
    whole = loaded("aime24", folder).problems
    taken = [loaded("aime24", folder, limit=limit).problems for limit in (1, 3, 5, 10, 11)]
    assert [len(problems) for problems in taken] == [1, 3, 5, 10, 10]
    assert all(set(few) <= set(more) for few, more in pairwise(taken))
    assert taken[2] != whole[:5]
    for problems in taken:
        assert list(problems) == [problem for problem in whole if problem in problems]


def test_the_sample_does_not_depend_on_the_order_of_the_rows():
    docs = [{"id": str(number)} for number in range(100)]
    ids = {doc["id"] for doc in sample(docs, 7)}
    assert {doc["id"] for doc in sample(docs[::-1], 7)} == ids


def test_the_fingerprint_is_of_the_problems_used(data):
    folder = data("aime24", *AIME)
    whole = loaded("aime24", folder)
    assert loaded("aime24", folder).data == whole.data
    assert len(whole.data) == 12
    assert loaded("aime24", folder, limit=3).data != whole.data
    data("aime24", *({**row, "url": "elsewhere", "solution": "…"} for row in AIME))
    assert loaded("aime24", folder).data == whole.data
    data("aime24", *AIME[:-1], {**AIME[-1], "answer": "0"})
    assert loaded("aime24", folder).data != whole.data


def test_suites_and_tasks_come_in_their_order(data):
    folder = data("aime24", *AIME)
    assert [task.name for task in load_tasks(["aime24", "coins"], data_dir=folder, limit=2)] == [
        *("aime24", "coins_test", "coins_longer", "coins_distractors", "coins_unseen")
    ]


def test_what_is_wrong_with_all_tasks_is_told_at_once(data):
    data("aime24", *AIME, "{\n", {"id": 1, "problem": "?"})
    data("arc_challenge", {**ARC, "answerKey": "3"})
    folder = data("gsm8k", {"question": "?"}, name="a.jsonl")
    data("gsm8k", {"question": "?"}, name="b.jsonl")
    with pytest.raises(DataErrors) as errors:
        load_tasks(["aime24", "arc_challenge", "arc_challenge_ll", "gsm8k", "gpqa_diamond"], data_dir=folder)
    told = errors.value.flaws
    starts = (
        f"{folder}/aime24/test.jsonl:11: '{{' is not JSON",
        f"{folder}/aime24/test.jsonl:12: answer is None and the solution boxes none",
        f"{folder}/arc_challenge/test.jsonl:1: answerKey is '3' and the labels of 2 options are ['1', '2']",
        f"{folder}/gsm8k: no file of the test problems; it is expected as test.jsonl",
        f"{folder}/gpqa_diamond: no file of the test problems",
    )
    assert len(told) == len(starts)
    assert all(line.startswith(start) for line, start in zip(told, starts, strict=True))


def test_training_files_beside_the_test_file_are_left_alone(data):
    data("gsm8k", {"question": "train", "answer": "#### 1"}, name="train.jsonl")
    folder = data("gsm8k", {"question": "test", "answer": "#### 1"})
    assert [problem.prompt for problem in loaded("gsm8k", folder).problems] == ["test"]


@pytest.mark.parametrize(
    ("folder", "row", "answer"),
    [
        ("aime24", {"id": 1, "problem": "?", "solution": "s", "answer": "1", "url": "…", "year": "2024"}, "1"),
        ("aime25", {"problem": "?", "answer": "70", "id": "0"}, "70"),
        ("amc23", {"question": "?", "url": "…", "id": 0, "answer": 27.0}, "27"),
        ("minerva_math", {"question": "?", "answer": "1.6"}, "1.6"),
        ("gpqa_diamond", {**GPQA, "Question": "?"}, "B"),
    ],
)
def test_files_in_the_hub_s_layouts_are_read_as_well(data, folder, row, answer):
    import pyarrow
    import pyarrow.parquet

    data_dir = data(folder, row)
    lines = loaded(folder, data_dir)
    assert [problem.answer for problem in lines.problems] == [answer]
    (data_dir / folder / "test.jsonl").unlink()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), data_dir / folder / "test-00000-of-00001.parquet")
    assert loaded(folder, data_dir).problems == lines.problems


def test_gpqa_comes_as_the_csv_that_its_authors_give_out(data):
    columns = ["Subdomain", *GPQA]
    values = ["Physics", '"Why, then?"', *list(GPQA.values())[1:]]
    folder = data("gpqa_diamond", ",".join(columns) + "\n", ",".join(values) + "\n", name="gpqa_diamond.csv")
    (problem,) = loaded("gpqa_diamond", folder).problems
    assert problem.prompt.startswith("Why, then?\n\nA. ")
    assert problem.form.options[ord(problem.answer) - ord("A")] == "so"


def test_without_a_folder_the_hub_is_asked_for_the_commit(monkeypatch):
    import datasets

    asked = []

    def load_dataset(path, name, **rest):
        asked.append((path, name, rest))
        return datasets.Dataset.from_list([{"question": "1+1?", "answer": "#### 2"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (task,) = load_tasks(["gsm8k"])
    commit = "e53f048856ff4f594e959d75785d2c2d37b678ee"
    assert asked == [("openai/gsm8k", "main", {"split": "test", "revision": commit})]
    assert task.source == f"openai/gsm8k, main (test) at {commit}"
    assert [problem.answer for problem in task.problems] == ["2"]


def test_a_gated_dataset_is_told_with_both_ways_out(monkeypatch):
    import datasets

    def load_dataset(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. …")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataErrors) as errors:
        load_tasks(["gpqa_diamond", "gpqa_diamond_ll"])
    assert str(errors.value) == (
        "Idavidrein/gpqa (train): cannot be loaded (Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. …); ask "
        "for access on its page of the hub and run 'hf auth login', or name a local copy (--data-dir, or a file in the "
        "study)"
    )


def test_unknown_names_are_told_before_anything_is_loaded():
    with pytest.raises(UnknownNameError, match="unknown task or suite 'coin'"):
        load_tasks(["coin"])


def test_loading_says_nothing_and_leaves_the_default_index_alone():
    code = (
        "from evals.harness.tasks import load_tasks; import sys; load_tasks(['coins'], limit=2); "
        "print(any('lm_eval.tasks.' in name and name.count('.') > 2 for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def test_a_package_s_task_may_leave_the_loading_to_lm_eval(monkeypatch, tmp_path, data):
    folder = data("squares", {"id": 3, "problem": "3 times 3?", "answer": "9"}) / "squares"
    (tmp_path / "plain.yaml").write_text(
        f"task: plain\ndataset_path: {folder}\ntest_split: test\nprocess_docs: !function evals.tasks.maths.problems\n"
        "doc_to_text: '{{problem}}'\ndoc_to_target: answer\nmetadata: {version: 7}\n"
        "generation_kwargs: {until: [], do_sample: true, temperature: 0.5, top_p: 0.9, max_gen_toks: 5}\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("evals.harness.tasks.list_task_names", lambda names, own: names)
    monkeypatch.setattr("evals.harness.tasks.find_task_file", {"plain": tmp_path / "plain.yaml"}.__getitem__)
    (task,) = load_tasks(["plain"])
    assert (task.version, task.samples, task.sampling) == ("7", 1, Sampling(0.5, 0.9, 5))
    assert (task.source, [problem.id for problem in task.problems]) == (str(folder), ["3"])
