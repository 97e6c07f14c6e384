from __future__ import annotations

import pytest

from evals.benchmarks import Problem
from evals.coins import COINS
from evals.generate import Completion
from evals.score import score
from evals.verify import Verifier

PROBLEM = Problem("coins/test/0/0", "Ann has 3 coins. Ann finds 4. Ann spends 2. How many?\n", "5")
OTHER = Problem("coins/test/0/1", "Bob has 2 coins. Bob makes it 3 times. How many?\n", "6")
RIGHT = "3 + 4 = 7\n\n7 - 2 = 5\n\n\\boxed{5}"


def cut(text):
    return text.split("\n\n")


@pytest.fixture(scope="module")
def verifier():
    with Verifier() as verifier:
        yield verifier


def scored(verifier, *pairs):
    problems, completions = zip(*pairs, strict=True)
    return score(problems, completions, benchmark=COINS, verifier=verifier, cut=cut)


def test_a_record_by_hand(verifier):
    assert scored(verifier, (PROBLEM, Completion(RIGHT, 19, False))) == [
        {
            "problem": "coins/test/0/0",
            "sample": 0,
            "completion": RIGHT,
            "correct": True,
            "status": "right",
            "tokens": 19,
            "truncated": False,
            "steps": 3,
            "wrong_steps": [],
            "follow_steps": [],
        }
    ]


def test_a_slip_and_what_follows_it(verifier):
    text = "3 + 4 = 8\n\n8 - 2 = 6\n\n\\boxed{6}"
    (record,) = scored(verifier, (PROBLEM, Completion(text, 19, False)))
    assert (record["correct"], record["status"]) == (False, "wrong")
    assert (record["steps"], record["wrong_steps"], record["follow_steps"]) == (3, [0], [1, 2])


def test_right_by_luck_keeps_its_wrong_steps(verifier):
    text = "3 + 4 = 8\n\n8 - 2 = 5\n\n\\boxed{5}"
    (record,) = scored(verifier, (PROBLEM, Completion(text, 19, False)))
    assert record["correct"] is True
    assert record["wrong_steps"] == [0, 1]


def test_an_empty_truncated_completion_is_one_wrong_step_without_an_answer(verifier):
    (record,) = scored(verifier, (PROBLEM, Completion("", 96, True)))
    assert (record["correct"], record["status"], record["truncated"]) == (False, "no_answer", True)
    assert (record["steps"], record["wrong_steps"], record["tokens"]) == (1, [0], 96)


def test_samples_are_numbered_within_their_problem(verifier):
    done = Completion(RIGHT, 19, False)
    records = scored(verifier, (PROBLEM, done), (OTHER, done), (PROBLEM, done), (PROBLEM, done), (OTHER, done))
    assert [(record["problem"][-1], record["sample"]) for record in records] == [
        ("0", 0), ("1", 0), ("0", 1), ("0", 2), ("1", 1)
    ]  # fmt: skip


def test_every_completion_is_judged_by_its_own_problem(verifier):
    records = scored(verifier, (OTHER, Completion(RIGHT, 1, False)), (PROBLEM, Completion(RIGHT, 1, False)))
    assert [record["correct"] for record in records] == [False, True]


def test_an_abstention_stays_one():
    # A sum that nothing can do within a millisecond: the verifier gives up, which is neither right nor wrong.
    slow = "\\boxed{\\int_0^1 x^{x^2} dx + \\sqrt{2+\\sqrt{3}}}"
    with Verifier(deadline_s=0.001) as hurried:
        (record,) = scored(hurried, (Problem("p", PROBLEM.prompt, "\\pi"), Completion(slow, 5, False)))
    assert (record["correct"], record["status"]) == (None, "timeout")


def test_a_completion_too_few_is_an_error(verifier):
    with pytest.raises(ValueError, match="zip"):
        score([PROBLEM, PROBLEM], [Completion(RIGHT, 1, False)], benchmark=COINS, verifier=verifier, cut=cut)


def test_nothing_in_nothing_out(verifier):
    assert score([], [], benchmark=COINS, verifier=verifier, cut=cut) == []
