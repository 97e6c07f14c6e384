from __future__ import annotations

import fcntl
import json
from collections import Counter
from dataclasses import replace

import pytest
from dicemodel import SAMPLING, DiceModel, choice_task, coins_task, generate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.harness.folder import read_seconds, read_task, read_whole_batches
from evals.harness.identity import EvaluationError
from evals.harness.progress import Progress
from evals.models.base import Completion, Likelihood, Sampling

TASK = coins_task()


def lines(folder):
    return [json.loads(line) for line in (folder / "generations.jsonl").read_bytes().split(b"\n") if line]


def content(folder):
    return (folder / "generations.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert generate(TASK, DiceModel(), folder, seed=5) is True
    return folder


def after(whole, tmp_path, size):
    """Copy an evaluation of which only the first `size` bytes of completions were written."""
    folder = tmp_path / f"cut{size}"
    folder.mkdir()
    for name in ("task.json", "timing.jsonl"):
        (folder / name).write_bytes((whole / name).read_bytes())
    (folder / "generations.jsonl").write_bytes(content(whole)[:size])
    return folder


# What is written


def test_every_completion_is_a_line(whole):
    found = lines(whole)
    assert Counter((line["problem"], line["sample"]) for line in found) == {
        (problem.id, sample): 1 for problem in TASK.problems for sample in range(3)
    }
    assert [line["batch"] for line in found] == [0] * 6 + [1] * 6 + [2] * 6 + [3] * 3
    assert [line["batch_size"] for line in found] == [6] * 18 + [3] * 3
    assert found[0].keys() == {
        "problem", "decoding", "sample", "completion", "tokens", "truncated", "failure", "batch", "batch_size"
    }  # fmt: skip


def test_a_problems_samples_come_together_and_the_longest_prompts_first(whole):
    found = lines(whole)
    assert [line["sample"] for line in found] == [0, 1, 2] * 7
    length = {problem.id: len(problem.prompt) for problem in TASK.problems}
    lengths = [length[line["problem"]] for line in found]
    assert lengths == sorted(lengths, reverse=True)


def test_more_samples_than_a_batch_holds_are_asked_in_parts(tmp_path):
    task = coins_task(2, 5)
    generate(task, DiceModel(batch=3), tmp_path / "parts")
    generate(task, DiceModel(batch=50), tmp_path / "whole")
    found = lines(tmp_path / "parts")
    assert [line["batch_size"] for line in found] == [3, 3, 3, 3, 3, 3, 2, 2, 2, 2]
    key = lambda line: (line["problem"], line["sample"], line["completion"])  # noqa: E731
    assert sorted(map(key, found)) == sorted(map(key, lines(tmp_path / "whole")))


def test_the_record_says_what_was_asked(whole):
    record = read_task(whole)
    assert record.identity == {
        "task": "coins_test",
        "version": "1",
        "data": TASK.data,
        "output": "generate",
        "answers": "last_number",
        "problems": 7,
        "greedy": False,
        "samples": 3,
        "sampling": {"temperature": 1.0, "top_p": 1.0, "max_tokens": 32},
        "seed": 5,
        "model": {"backend": "dice", "weights": "d1ce", "dtype": "none", "template_hash": "0"},
    }
    assert [one.problem for one in record.asked] == list(TASK.problems)
    assert all(one.prompt == f"Q: {one.problem.prompt}\nA:" for one in record.asked)
    assert (record.checker, record.source) == ("coins", "evals.coins test")


def test_hostile_text_survives_on_its_own_line(tmp_path):
    text = '\ud800 \u2028 \u2029 \x85 \x00 \r\n \x0b\x0c\x1c {"problem": 1}\n'

    class Hostile(DiceModel):
        def _complete(self, prompt, seed, number):
            return Completion(text)

    generate(TASK, Hostile(), tmp_path, seed=5)
    assert {line["completion"] for line in read_whole_batches(tmp_path / "generations.jsonl")[0]} == {text}
    content(tmp_path).decode("ascii")
    assert len(content(tmp_path).splitlines()) == len((content(tmp_path)).decode().splitlines()) == 21


def test_the_task_decides_how(tmp_path):
    asked = []

    class Listening(DiceModel):
        async def complete(self, prompts, n, sampling, *, seed, first=0):
            asked.append((sampling, seed, n, first))
            return await super().complete(prompts, n, sampling, seed=seed, first=first)

    generate(TASK, Listening(), tmp_path / "a", seed=5)
    assert set(asked) == {(SAMPLING, 5, 3, 0)}


def test_greedy_answers_come_first_and_in_batches_of_their_own(tmp_path):
    asked = []

    class Listening(DiceModel):
        async def complete(self, prompts, n, sampling, *, seed, first=0):
            asked.append((sampling, len(prompts), n))
            return await super().complete(prompts, n, sampling, seed=seed, first=first)

    generate(replace(TASK, greedy=True, samples=2), Listening(), tmp_path, seed=5)
    greedy = Sampling(0.0, 1.0, SAMPLING.max_tokens)
    assert asked == [(greedy, 6, 1), (greedy, 1, 1), (SAMPLING, 3, 2), (SAMPLING, 3, 2), (SAMPLING, 1, 2)]
    assert [line["decoding"] for line in lines(tmp_path)] == ["greedy"] * 7 + ["sampled"] * 14
    identity = read_task(tmp_path).identity
    assert (identity["greedy"], identity["samples"], identity["sampling"]["temperature"]) == (True, 2, 1.0)


@pytest.mark.parametrize("size", range(0, 4000, 250))
def test_two_decodings_go_on_where_they_stopped(tmp_path, size):
    task = replace(TASK, greedy=True, samples=2)
    generate(task, DiceModel(), tmp_path / "whole", seed=5)
    folder = after(tmp_path / "whole", tmp_path, size)
    generate(task, DiceModel(), folder, seed=5)
    assert content(folder) == content(tmp_path / "whole")


def test_another_seed_draws_others(whole, tmp_path):
    generate(TASK, DiceModel(), tmp_path, seed=6)
    assert content(tmp_path) != content(whole)


def test_progress_is_told_after_every_batch(tmp_path):
    told = []
    generate(TASK, DiceModel(), tmp_path, seed=5, tell=told.append)
    assert [(one.stage, one.task, one.done, one.of, one.asked) for one in told] == [
        ("generate", "coins_test", done, 21, done) for done in (6, 12, 18, 21)
    ]
    assert told[-1].tokens == sum(line["tokens"] for line in lines(tmp_path))
    assert [one.seconds for one in told] == sorted(one.seconds for one in told)


def test_the_rest_takes_what_this_run_has_shown():
    assert Progress("generate", "t", done=60, of=100, asked=20, seconds=10.0).seconds_left == 20.0
    assert Progress("generate", "t", done=60, of=100).seconds_left is None


def test_seconds_of_the_batches_add_up(tmp_path):
    generate(TASK, DiceModel(pause=0.002), tmp_path, seed=5)
    assert len((tmp_path / "timing.jsonl").read_text().splitlines()) == 4
    seconds, worked = read_seconds(tmp_path)
    assert seconds >= 4 * 0.002
    assert worked >= 0


# Going on


def test_what_is_done_is_not_asked_again(whole):
    before, model = content(whole), DiceModel()
    assert generate(TASK, model, whole, seed=5) is True
    assert (content(whole), model.asked, model.rendered) == (before, [], 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_beginning_goes_on_to_the_same_end(whole, tmp_path_factory, data):
    size = data.draw(st.integers(0, len(content(whole))))
    folder = after(whole, tmp_path_factory.mktemp("law"), size)
    model = DiceModel()
    assert generate(TASK, model, folder, seed=5) is True
    assert content(folder) == content(whole)
    ends = [0, *(n + 1 for n, byte in enumerate(content(whole)) if byte == ord("\n"))]
    there = max(n for n in (0, 6, 12, 18, 21) if ends[n] <= size)
    assert len(model.asked) == 21 - there


def test_a_beginning_of_every_number_of_lines(whole, tmp_path):
    ends = [n + 1 for n, byte in enumerate(content(whole)) if byte == ord("\n")]
    for end in ends:
        folder = after(whole, tmp_path, end)
        generate(TASK, DiceModel(), folder, seed=5)
        assert content(folder) == content(whole)


def test_a_stop_between_batches_ends_the_run_and_the_next_goes_on(whole, tmp_path):
    for batches in range(4):
        answers = iter([False, True])
        finished = generate(TASK, DiceModel(), tmp_path, seed=5, stop=lambda: next(answers))  # noqa: B023
        assert (finished, len(lines(tmp_path))) == ((False, 6 * (batches + 1)) if batches < 3 else (True, 21))
    assert content(tmp_path) == content(whole)


def test_prompts_are_rendered_once(whole, tmp_path):
    # A chat template may name the day.
    folder = after(whole, tmp_path, 0)

    class Tomorrow(DiceModel):
        def prompt(self, text):
            raise AssertionError

    generate(TASK, Tomorrow(), folder, seed=5)
    assert content(folder) == content(whole)


def test_another_batch_size_goes_on_with_what_is_missing(whole, tmp_path):
    size = sum(len(line) + 1 for line in content(whole).split(b"\n")[:15])  # two batches of six, and three lines
    folder = after(whole, tmp_path, size)
    generate(TASK, DiceModel(batch=9), folder, seed=5)
    found = lines(folder)
    assert [line["batch_size"] for line in found] == [6] * 12 + [9] * 9
    assert [line["batch"] for line in found][12:] == [2] * 9
    assert len({(line["problem"], line["sample"]) for line in found}) == 21


def test_a_torn_line_of_seconds_is_dropped(whole, tmp_path):
    folder = after(whole, tmp_path, len(content(whole)) - 5)
    (folder / "timing.jsonl").write_bytes(b'{"batch": 0, "seconds": 1.5, "cpu_seconds": 1.25}\n{"batch": 1, "sec')
    generate(TASK, DiceModel(), folder, seed=5)
    assert [json.loads(line)["batch"] for line in (folder / "timing.jsonl").open()] == [0, 3]
    seconds, worked = read_seconds(folder)
    assert (seconds >= 1.5, worked >= 1.25) == (True, True)


def test_going_on_takes_away_the_result_of_fewer(whole, tmp_path):
    folder = after(whole, tmp_path, 0)
    (folder / "result.json").write_text("{}")
    generate(TASK, DiceModel(), folder, seed=5)
    assert not (folder / "result.json").exists()
    (folder / "result.json").write_text("{}")
    generate(TASK, DiceModel(), folder, seed=5)  # nothing was asked
    assert (folder / "result.json").exists()


def test_a_line_that_no_kill_leaves_is_an_error_with_its_place(whole, tmp_path):
    folder = after(whole, tmp_path, len(content(whole)))
    (folder / "generations.jsonl").write_bytes(content(whole) + b'{"problem": "coins"}\n')
    with pytest.raises(EvaluationError, match=r"generations\.jsonl:22 is no completion \(batch, .*\); delete"):
        generate(TASK, DiceModel(), folder, seed=5)
    (folder / "generations.jsonl").write_bytes(b"[1]\n")
    with pytest.raises(EvaluationError, match=r"jsonl:1 is no completion"):
        generate(TASK, DiceModel(), folder, seed=5)


def test_a_record_that_is_none_is_an_error(tmp_path):
    (tmp_path / "task.json").write_text('{"identity": 1}')
    with pytest.raises(EvaluationError, match=r"task\.json is no record of an evaluation .*; delete"):
        generate(TASK, DiceModel(), tmp_path, seed=5)


# Another evaluation's folder


@pytest.mark.parametrize(
    ("changes", "model", "seed", "said"),
    [
        ({"version": "2"}, {}, 5, 'version: "1" there, "2" here'),
        ({"data": "beef"}, {}, 5, "data: "),
        ({"samples": 4}, {}, 5, "samples: 3 there, 4 here"),
        ({"count": 5}, {}, 5, "problems: 7 there, 5 here"),
        ({"sampling": replace(SAMPLING, top_p=0.9)}, {}, 5, "sampling.top_p: 1.0 there, 0.9 here"),
        ({}, {"dtype": "bfloat16"}, 5, 'model.dtype: "none" there, "bfloat16" here'),
        ({}, {"weights": "beef"}, 5, 'model.weights: "d1ce" there, "beef" here'),
        ({}, {"packages": {"torch": "2"}}, 5, 'model.packages.torch: nothing there, "2" here'),
        ({}, {}, 6, "seed: 5 there, 6 here"),
    ],
)
def test_a_folder_of_another_evaluation_is_refused_and_left_alone(whole, changes, model, seed, said):
    before = content(whole)
    with pytest.raises(EvaluationError) as error:
        generate(coins_task(**changes), DiceModel(**model), whole, seed=seed)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{whole} holds another evaluation")
    assert content(whole) == before


def test_completions_of_nobody_knows_what_are_not_taken_over(whole, tmp_path):
    folder = after(whole, tmp_path, len(content(whole)))
    (folder / "task.json").unlink()
    with pytest.raises(EvaluationError, match=r"holds completions, but no task\.json"):
        generate(TASK, DiceModel(weights="beef"), folder, seed=5)
    assert content(folder) == content(whole)


def test_data_that_moved_are_the_same_data(whole):
    assert generate(replace(TASK, source="/mnt/else/coins.jsonl"), DiceModel(), whole, seed=5) is True


def test_a_folder_that_is_being_written_is_refused(tmp_path):
    with (tmp_path / "generations.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(EvaluationError, match="is being written by another process"):
            generate(TASK, DiceModel(), tmp_path, seed=5)
    assert generate(TASK, DiceModel(), tmp_path, seed=5) is True


# Completions that do not come


def test_a_failure_is_data(tmp_path):
    assert generate(TASK, DiceModel(failing=lambda place: place == 7), tmp_path, seed=5) is True
    failed = [line for line in lines(tmp_path) if line["failure"]]
    assert [(line["batch"], line["completion"], line["tokens"]) for line in failed] == [(1, "", 0)]
    assert "503" in failed[0]["failure"]


def test_what_failed_is_asked_again_last_and_its_last_line_counts(whole, tmp_path):
    generate(TASK, DiceModel(failing=lambda place: place in {1, 7}), tmp_path, seed=5)
    before, told, model = content(tmp_path), [], DiceModel()
    generate(TASK, model, tmp_path, seed=5, tell=told.append)
    assert content(tmp_path).startswith(before)
    first, again = lines(tmp_path)[:21], lines(tmp_path)[21:]
    assert [(line["problem"], line["sample"]) for line in again] == [
        (line["problem"], line["sample"]) for line in first if line["failure"]
    ]
    assert [(line["batch"], line["batch_size"], line["failure"]) for line in again] == [(4, 2, None)] * 2
    assert [(one.done, one.of, one.asked) for one in told] == [(21, 21, 2)]
    assert len(model.asked) == 2


def test_failures_do_not_move_the_batches_of_what_is_missing(tmp_path):
    failing = {"failing": lambda place: place == 1}
    generate(TASK, DiceModel(**failing), tmp_path / "whole", seed=5)
    generate(TASK, DiceModel(**failing), tmp_path / "cut", seed=5, stop=iter([False, True]).__next__)
    generate(TASK, DiceModel(), tmp_path / "cut", seed=5)
    assert content(tmp_path / "cut").startswith(content(tmp_path / "whole"))
    assert len(lines(tmp_path / "cut")) == 22


def test_too_many_failures_stop_the_run_with_a_reason(tmp_path):
    told = []
    with pytest.raises(EvaluationError) as error:
        generate(coins_task(60, 1), DiceModel(failing=lambda place: place >= 32), tmp_path, seed=5, tell=told.append)
    assert "4 of the 36 completions of this run failed" in str(error.value)
    assert "503" in str(error.value)
    assert "run it again" in str(error.value)
    assert (told[-1].done, told[-1].failed) == (36, 4)
    assert len(lines(tmp_path)) == 36  # what was paid for is kept


def test_a_few_failures_at_the_start_say_nothing_yet(tmp_path):
    assert generate(coins_task(40, 1), DiceModel(failing=lambda place: place < 2), tmp_path / "few", seed=5) is True
    with pytest.raises(EvaluationError, match="3 of the 6 completions"):
        generate(coins_task(40, 1), DiceModel(failing=lambda place: place < 3), tmp_path / "more", seed=5)


def test_the_share_that_may_fail_is_a_setting(tmp_path):
    failing = {"failing": lambda place: place % 2 == 0}
    assert generate(coins_task(40, 1), DiceModel(**failing), tmp_path / "half", seed=5, most_failed=0.5) is True
    with pytest.raises(EvaluationError, match="1 of the 6"):
        generate(coins_task(40, 1), DiceModel(failing=lambda place: place == 0), tmp_path, seed=5, most_failed=0.0)


def test_an_evaluation_without_one_answer_is_an_error(tmp_path):
    with pytest.raises(EvaluationError, match="2 of the 2 completions"):
        generate(coins_task(2, 1), DiceModel(failing=lambda place: True), tmp_path, seed=5)


# Options


QUESTIONS = [("Which?", ("red", "blue"), "A"), ("What then?", ("one", "two", "three"), "C")]


def test_every_option_of_a_question_is_weighed(tmp_path):
    task, model = choice_task(QUESTIONS), DiceModel()
    assert generate(task, model, tmp_path, seed=5) is True
    assert [(line["problem"], len(line["ranking"]["logprobs"])) for line in lines(tmp_path)] == [("q/1", 3), ("q/0", 2)]
    assert model.asked == ["What then?\nAnswer: one", "What then?\nAnswer: two", "What then?\nAnswer: three",
                           "Which?\nAnswer: red", "Which?\nAnswer: blue"]  # fmt: skip
    assert [one.options for one in read_task(tmp_path).asked] == [(" red", " blue"), (" one", " two", " three")]


def test_what_is_no_number_is_a_failure_and_what_is_impossible_is_none(tmp_path):
    class Broken(DiceModel):
        def weigh(self, context, option):
            return Likelihood({" red": float("nan"), " one": float("-inf")}.get(option, -1.0), False)

    generate(choice_task(QUESTIONS), Broken(), tmp_path, seed=5)
    then, which = lines(tmp_path)
    assert (then["ranking"]["logprobs"], then["failure"]) == ([None, -1.0, -1.0], None)
    assert "not a number" in which["failure"]
