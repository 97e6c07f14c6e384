from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from dicemodel import HOSTILE, DiceModel, choice_task, coins_task, generate

from evals.benchmarks import Problem
from evals.coins import COINS
from evals.harness.folder import Asked, read_samples, read_task, read_whole_batches
from evals.harness.identity import EvaluationError
from evals.harness.results import read_result
from evals.harness.score import choose_option, judge, score
from evals.models.base import Completion, Likelihood, Usage
from evals.verify import VERIFIER_VERSION, Verifier
from evals.verify.forms import Form

PROBLEM = Problem("coins/test/0/0", "Ann has 3 coins. Ann finds 4. Ann spends 2. How many?\n", "5")
OTHER = Problem("coins/test/0/1", "Bob has 2 coins. Bob makes it 3 times. How many?\n", "6")
RIGHT = "3 + 4 = 7\n\n7 - 2 = 5\n\n\\boxed{5}"


def cut(text):
    return text.split("\n\n")


def line(problem, text, tokens=19, truncated=False, failure=None, sample=0, **more):
    return {
        "problem": problem.id, "decoding": "greedy", "sample": sample, "completion": text, "tokens": tokens,
        "truncated": truncated,
        "failure": failure, "batch": 0, "batch_size": 1, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as verifier:
        yield verifier


def judged(verifier, *pairs, checker=COINS):
    return judge(
        [(problem, line(problem, *rest)) for problem, *rest in pairs], verifier=verifier, cut=cut, checker=checker
    )


def scored(folder, task, model, verifier, **options):
    generate(task, model, folder, seed=5)
    score(folder, verifier=verifier, cut=cut, segmenter="blank_lines", **options)
    return read_samples(folder)


class Saying(DiceModel):
    """Gives each problem the completions named for it, in turn."""

    def __init__(self, texts, **options):
        super().__init__(**options)
        self._texts = {f"Q: {prompt}\nA:": iter(said) for prompt, said in texts.items()}

    def _complete(self, prompt, seed, number):
        return Completion(next(self._texts[prompt]), usage=Usage(output_tokens=19))


# One completion


def test_a_record_by_hand(verifier):
    assert judged(verifier, (PROBLEM, RIGHT)) == [
        {
            "problem": "coins/test/0/0",
            "decoding": "greedy",
            "sample": 0,
            "completion": RIGHT,
            "correct": True,
            "status": "right",
            "answer": "5",
            "tokens": 19,
            "truncated": False,
            "steps": 3,
            "wrong_steps": [],
            "follow_steps": [],
        }
    ]


def test_a_slip_and_what_follows_it(verifier):
    (record,) = judged(verifier, (PROBLEM, "3 + 4 = 8\n\n8 - 2 = 6\n\n\\boxed{6}"))
    assert (record["correct"], record["status"], record["answer"]) == (False, "wrong", "6")
    assert (record["steps"], record["wrong_steps"], record["follow_steps"]) == (3, [0], [1, 2])


def test_right_by_luck_keeps_its_wrong_steps(verifier):
    (record,) = judged(verifier, (PROBLEM, "3 + 4 = 8\n\n8 - 2 = 5\n\n\\boxed{5}"))
    assert record["correct"] is True
    assert record["wrong_steps"] == [0, 1]


def test_an_empty_truncated_completion_is_one_wrong_step_without_an_answer(verifier):
    (record,) = judged(verifier, (PROBLEM, "", 96, True))
    assert (record["correct"], record["status"], record["truncated"]) == (False, "no_answer", True)
    assert (record["answer"], record["steps"], record["wrong_steps"], record["tokens"]) == (None, 1, [0], 96)


def test_every_completion_is_judged_by_its_own_problem(verifier):
    assert [record["correct"] for record in judged(verifier, (OTHER, RIGHT), (PROBLEM, RIGHT))] == [False, True]


def test_without_a_checker_no_step_is_judged(verifier):
    (record,) = judged(verifier, (PROBLEM, RIGHT), checker=None)
    assert record["steps"] == 3
    assert not {"wrong_steps", "follow_steps"} & record.keys()


def test_an_abstention_stays_one():
    # A sum that nothing can do within a millisecond: the verifier gives up, which is neither right nor wrong.
    slow = "\\boxed{\\int_0^1 x^{x^2} dx + \\sqrt{2+\\sqrt{3}}}"
    with Verifier(deadline_s=0.001) as hurried:
        (record,) = judged(hurried, (Problem("p", PROBLEM.prompt, "\\pi"), slow))
    assert (record["correct"], record["status"]) == (None, "timeout")


def test_a_completion_that_did_not_come_is_not_judged_and_moves_no_verdict(verifier):
    first, failed, last = judged(verifier, (PROBLEM, RIGHT), (PROBLEM, "", 0, False, "503"), (OTHER, RIGHT))
    assert (failed["correct"], failed["status"], failed["answer"], failed["steps"]) == (None, "failed", None, 0)
    assert "wrong_steps" not in failed
    assert (first["correct"], last["correct"]) == (True, False)


def test_the_form_of_an_answer_is_told_to_the_verifier(verifier):
    colour = Problem("q", "Which?", "B", Form("choice", options=("red", "blue")))
    records = judged(verifier, (colour, "\\boxed{B}"), (colour, "\\boxed{blue}"), (colour, "\\boxed{A}"), checker=None)
    assert [record["correct"] for record in records] == [True, True, False]


def test_nothing_in_nothing_out(verifier):
    assert judge([], verifier=verifier, cut=cut, checker=COINS) == []


# Options that were ranked


def weighed(logprobs, options=(" red", " blue"), answer="B", **more):
    problem = Problem("q", "Which?", answer, Form("choice", options=tuple(option.strip() for option in options)))
    return choose_option(
        Asked(problem, "Which?", options),
        line(problem, "", 0, ranking={"logprobs": logprobs, "greedy": [False] * len(logprobs)}, **more),
    )


def test_the_likeliest_option_is_the_answer():
    assert weighed([-2.0, -1.0]) == {
        "problem": "q",
        "decoding": "greedy",
        "sample": 0,
        "completion": " blue",
        "correct": True,
        "correct_norm": True,
        "status": "right",
        "answer": "B",
        "tokens": 0,
        "truncated": False,
        "steps": 0,
    }


def test_by_length_another_one_may_be():
    # red: -1.5 / 3 = -0.5; blue: -1.6 / 4 = -0.4, without the space that stands before each.
    record = weighed([-1.5, -1.6])
    assert (record["correct"], record["correct_norm"], record["answer"], record["status"]) == (
        False,
        True,
        "A",
        "wrong",
    )


def test_length_is_in_characters():
    # "é" is one character and two bytes: -1.0 / 1 against -1.5 / 2.
    assert weighed([-1.0, -1.5], options=(" é", " ee"), answer="B")["correct_norm"] is True
    assert weighed([-1.0, -2.1], options=(" é", " ee"), answer="B")["correct_norm"] is False


def test_of_equal_options_the_first_is_chosen():
    assert weighed([-1.0, -1.0], options=(" x", " y"), answer="A")["correct"] is True
    assert weighed([-1.0, -1.0], options=(" x", " y"), answer="B")["correct"] is False


def test_an_impossible_option_is_never_chosen():
    assert weighed([None, -900.0])["answer"] == "B"
    assert weighed([None, None], options=(" x", " y"), answer="A")["correct"] is True


def test_what_is_no_number_is_left_out():
    record = weighed([None, -1.0], failure="a log-probability is not a number")
    assert (record["correct"], record["correct_norm"], record["status"]) == (None, None, "failed")


def test_a_ranking_is_that_of_lm_eval():
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    options = ["a", "bb ccc", "é ü", "four five six", "x²+y²"]
    config = {
        "task": "ranked", "custom_dataset": lambda **_: {"test": Dataset.from_list([{"gold": 0}])},
        "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "Which?", "doc_to_target": "gold",
        "doc_to_choice": options, "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }  # fmt: skip
    task = ConfigurableTask(config=config)
    draws = random.Random(0)
    for _ in range(40):
        logprobs = [draws.uniform(-20, -1) for _ in range(5)]
        for gold in range(5):
            theirs = task.process_results({"gold": gold}, [(value, False) for value in logprobs])
            ours = weighed(logprobs, tuple(f" {option}" for option in options), "ABCDE"[gold])
            assert (ours["correct"], ours["correct_norm"]) == (theirs["acc"] == 1.0, theirs["acc_norm"] == 1.0)


# A folder


def test_samples_stand_problem_by_problem(verifier, tmp_path):
    task = coins_task()
    samples = scored(tmp_path, task, DiceModel(), verifier)
    assert [(sample["problem"], sample["sample"]) for sample in samples] == [
        (problem.id, number) for problem in task.problems for number in range(3)
    ]
    said = {
        (one["problem"], one["sample"]): one["completion"]
        for one in read_whole_batches(tmp_path / "generations.jsonl")[0]
    }
    assert all(sample["completion"] == said[sample["problem"], sample["sample"]] for sample in samples)


def test_a_result_by_hand(verifier, tmp_path):
    task = coins_task(problems=(PROBLEM, OTHER), samples=2)
    lucky = "3 + 4 = 8\n\n8 - 2 = 5\n\n\\boxed{5}"
    model = Saying({PROBLEM.prompt: [RIGHT, lucky], OTHER.prompt: ["2 * 3 = 6\n\n\\boxed{6}", "who knows"]})
    scored(tmp_path, task, model, verifier)
    result = read_result(tmp_path)
    assert result.task == "coins_test"
    assert result.counts == {"no_answer": 1, "right": 3}
    assert (result.metrics["avg_at_2"].value, result.metrics["avg_at_2"].n) == (0.75, 2)
    assert result.metrics["avg_at_2"].low < 0.75 < result.metrics["avg_at_2"].high
    assert result.metrics["pass_at_2"].value == 1.0
    assert result.metrics["sampled_wrong_step_rate"].value == 3 / 9
    assert result.metrics["sampled_flawed_right"].value == 1 / 3
    assert result.metrics["sampled_no_answer"].value == 0.25
    cost = dict(result.cost)
    assert cost.pop("generate_seconds") >= 0
    assert cost.pop("generate_cpu_seconds") >= 0
    assert cost.pop("score_seconds") >= 0
    assert cost.pop("score_cpu_seconds") >= 0
    assert cost == {"policy_tokens": 76, "problems": 2, "samples": 4}
    assert result.identity["verifier"] == VERIFIER_VERSION
    assert result.identity["segmenter"] == "blank_lines"
    assert result.identity["model"]["weights"] == "d1ce"


def test_scoring_needs_no_model_and_gives_the_same_again(verifier, tmp_path):
    scored(tmp_path, coins_task(), DiceModel(), verifier)
    before, first = (tmp_path / "samples.jsonl").read_bytes(), read_result(tmp_path)
    (tmp_path / "samples.jsonl").unlink()
    score(tmp_path, verifier=verifier, cut=cut, segmenter="blank_lines")
    assert (tmp_path / "samples.jsonl").read_bytes() == before
    again = read_result(tmp_path)
    assert (again.metrics, again.identity, again.counts) == (first.metrics, first.identity, first.counts)


def test_hostile_text_reaches_the_samples_unchanged(verifier, tmp_path):
    task = coins_task(len(HOSTILE), 1)
    texts = {problem.prompt: [text] for problem, text in zip(task.problems, HOSTILE, strict=True)}
    samples = scored(tmp_path, task, Saying(texts), verifier)
    assert [sample["completion"] for sample in samples] == HOSTILE
    lines = (tmp_path / "samples.jsonl").read_text(encoding="ascii").splitlines()
    assert [json.loads(one)["completion"] for one in lines] == HOSTILE


def test_failed_completions_are_counted_and_left_out(verifier, tmp_path):
    samples = scored(tmp_path, coins_task(10, 2), DiceModel(failing=lambda place: place == 3), verifier)
    assert sum(sample["status"] == "failed" for sample in samples) == 1
    result = read_result(tmp_path)
    assert (result.counts["failed"], result.metrics["sampled_failed"].value) == (1, 1 / 20)


def test_a_completion_that_came_later_is_the_one_that_counts(verifier, tmp_path):
    generate(coins_task(10, 2), DiceModel(failing=lambda place: place == 3), tmp_path, seed=5)
    scored(tmp_path, coins_task(10, 2), DiceModel(), verifier)
    assert "failed" not in read_result(tmp_path).counts
    assert read_result(tmp_path).cost["samples"] == 20


def test_options_are_scored_from_the_folder_alone(verifier, tmp_path):
    questions = [("Which?", ("red", "blue"), "A"), ("What then?", ("one", "two", "three"), "C")]

    class Sure(DiceModel):
        def weigh(self, context, option):
            return Likelihood({" red": -1.0, " three": -3.0}.get(option, -2.0), False)

    samples = scored(tmp_path, choice_task(questions), Sure(), verifier)
    assert [(sample["answer"], sample["correct"], sample["correct_norm"]) for sample in samples] == [
        ("A", True, True), ("A", False, True)
    ]  # fmt: skip
    metrics = read_result(tmp_path).metrics
    assert (metrics["accuracy"].value, metrics["accuracy_norm"].value) == (0.5, 1.0)
    assert not {"tokens", "steps", "no_answer", "truncated"} & metrics.keys()


def test_progress_is_told_in_chunks(verifier, tmp_path, monkeypatch):
    monkeypatch.setattr("evals.harness.score._CHUNK", 8)
    told = []
    scored(tmp_path, coins_task(), DiceModel(), verifier, tell=told.append)
    assert [(one.stage, one.task, one.done, one.of) for one in told] == [
        ("score", "coins_test", done, 21) for done in (8, 16, 21)
    ]


def test_an_unfinished_evaluation_is_not_scored(verifier, tmp_path):
    generate(coins_task(), DiceModel(), tmp_path, seed=5, stop=iter([False, True]).__next__)
    with pytest.raises(EvaluationError, match=r"15 of 21 completions are missing; .*it resumes where it stopped"):
        score(tmp_path, verifier=verifier, cut=cut, segmenter="blank_lines")
    assert not (tmp_path / "samples.jsonl").exists()


def test_a_folder_without_an_evaluation_is_an_error(verifier, tmp_path):
    with pytest.raises(EvaluationError, match=r"holds no evaluation \(task\.json is missing\)"):
        score(tmp_path, verifier=verifier, cut=cut, segmenter="blank_lines")


def test_a_scoring_that_ended_halfway_leaves_no_result_of_other_samples(verifier, tmp_path, monkeypatch):
    scored(tmp_path, coins_task(), DiceModel(), verifier)

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("evals.harness.score.write_result", killed)
    with pytest.raises(KeyboardInterrupt):
        score(tmp_path, verifier=verifier, cut=cut, segmenter="lines")
    with pytest.raises(EvaluationError, match=r"holds no result \(result\.json is missing\); score"):
        read_result(tmp_path)


def test_problems_come_back_from_the_folder_whole(verifier, tmp_path):
    several = replace(PROBLEM, form=Form(several=True, unit="m"))
    generate(coins_task(problems=(several,), samples=1, checker=None), DiceModel(), tmp_path, seed=5)
    assert read_task(tmp_path).asked[0].problem == several
