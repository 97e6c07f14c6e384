from __future__ import annotations

import random
import re
from itertools import groupby, pairwise
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.coins.problems import LIMIT, Chain, apply, draw_chain
from evals.coins.pupil import MISCONCEPTIONS, Pupil
from evals.coins.solutions import SEPARATOR, attempt, check, demonstrate, review
from evals.verify.answers import clean
from evals.verify.numbers import compare_numbers

CHAIN = Chain("Ann", 3, (("+", 4), ("-", 2), ("*", 3)))  # 3 → 7 → 5 → 15
CLEAN = ("3 + 4 = 7", "7 - 2 = 5", "5 * 3 = 15", "\\boxed{15}")

drawn = st.integers(0, 2**32).map(lambda seed: draw_chain(random.Random(seed), (2, 8)))


def judged(*steps, chain=CHAIN):
    found = check(chain, steps)
    return sorted(found.wrong), sorted(found.follow)


def test_a_clean_solution_has_nothing_to_flag():
    assert judged(*CLEAN) == ([], [])


@given(drawn, st.integers(0, 2**32))
def test_every_clean_demonstration_is_clean_and_boxes_the_answer(chain, seed):
    steps = demonstrate(chain, random.Random(seed)).split(SEPARATOR)
    assert judged(*steps, chain=chain) == ([], [])
    assert steps[-1] == f"\\boxed{{{chain.totals()[-1]}}}"
    assert len(steps) == len(chain.operations) + 1


@given(drawn, st.integers(0, 2**32))
def test_a_demonstration_slips_where_its_sums_are_wrong_and_nowhere_else(chain, seed):
    steps = demonstrate(chain, random.Random(seed), Pupil(slip=0.3)).split(SEPARATOR)
    right = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
    slips, rests_on_slip, truth = [], [], [chain.start, *chain.totals()]
    for index, step in enumerate(steps[:-1]):
        before, sign, operand, _, after = step.split()
        if right[sign](int(before), int(operand)) != int(after):
            slips.append(index)
        elif int(before) != truth[index]:
            rests_on_slip.append(index)
        assert 0 <= int(after) <= LIMIT
    if int(steps[-1][7:-1]) != truth[-1]:
        rests_on_slip.append(len(steps) - 1)
    assert judged(*steps, chain=chain) == (slips, rests_on_slip)


def test_demonstrations_slip_about_as_often_as_told():
    rng = random.Random(0)
    cases = [draw_chain(rng, (5, 7)) for _ in range(1000)]
    wrong = sum(len(check(chain, demonstrate(chain, rng, Pupil(slip=0.1)).split(SEPARATOR)).wrong) for chain in cases)
    steps = sum(len(chain.operations) for chain in cases)
    # Some 6000 steps: the standard error of the share is 0.004. Where no slip would stay in range there is none.
    assert 0.08 < wrong / steps < 0.115


def test_later_steps_follow_a_slip():
    # 3 + 4 = 8 is wrong; what comes after is right in itself but rests on it.
    assert judged("3 + 4 = 8", "8 - 2 = 6", "6 * 3 = 18", "\\boxed{18}") == ([0], [1, 2, 3])


def test_a_second_slip_may_lead_back_to_the_truth():
    assert judged("3 + 4 = 8", "8 - 2 = 5", "5 * 3 = 15", "\\boxed{15}") == ([0, 1], [])


@pytest.mark.parametrize(
    ("what", "steps", "wrong", "follow"),
    [
        ("wrong arithmetic", ("3 + 4 = 7", "7 - 2 = 4", "4 * 3 = 12", "\\boxed{12}"), [1], [2, 3]),
        ("wrong operand", ("3 + 4 = 7", "7 - 3 = 4", "4 * 3 = 12", "\\boxed{12}"), [1], [2, 3]),
        ("wrong operator", ("3 + 4 = 7", "7 + 2 = 9", "9 * 3 = 27", "\\boxed{27}"), [1], [2, 3]),
        ("wrong start", ("4 + 4 = 8", "8 - 2 = 6", "6 * 3 = 18", "\\boxed{18}"), [0], [1, 2, 3]),
        ("total not carried", ("3 + 4 = 7", "8 - 2 = 6", "6 * 3 = 18", "\\boxed{18}"), [1], [2, 3]),
        ("skipped operation", ("3 + 4 = 7", "7 * 3 = 21", "\\boxed{21}"), [1], [2]),
        ("skipped first", ("3 - 2 = 1", "1 * 3 = 3", "\\boxed{3}"), [0], [1, 2]),
        ("repeated step", ("3 + 4 = 7", "3 + 4 = 7", "7 - 2 = 5", "5 * 3 = 15", "\\boxed{15}"), [1], []),
        ("done twice", ("3 + 4 = 7", "7 + 4 = 11", "11 - 2 = 9", "9 * 3 = 27", "\\boxed{27}"), [1], [2, 3, 4]),
        ("extra step", ("3 + 4 = 7", "7 + 0 = 7", "7 - 2 = 5", "5 * 3 = 15", "\\boxed{15}"), [1], []),
        ("extra first step", ("3 + 0 = 3", *CLEAN), [0], []),
        ("extra last step", (*CLEAN[:3], "15 + 1 = 16", "\\boxed{16}"), [3], [4]),
        ("two extra steps", ("3 + 9 = 12", "12 - 9 = 3", *CLEAN), [0, 1], []),
        ("swapped", ("3 - 2 = 1", "1 + 4 = 5", "5 * 3 = 15", "\\boxed{15}"), [0, 2], [1]),  # early, then skipped
        ("early answer", ("3 + 4 = 7", "\\boxed{7}"), [1], []),
        ("early answer, then on", ("3 + 4 = 7", "\\boxed{7}", *CLEAN[1:]), [1], []),
        ("answer alone", ("\\boxed{15}",), [0], []),
        ("answer is not the last claim", (*CLEAN[:3], "\\boxed{14}"), [3], []),
        ("right answer after a slip", ("3 + 4 = 7", "7 - 2 = 6", "6 * 3 = 18", "\\boxed{15}"), [1, 3], [2]),
        ("sum after the answer", (*CLEAN, "15 + 1 = 16"), [4], []),
        ("answer twice", (*CLEAN, "\\boxed{15}"), [], []),
        ("no answer", CLEAN[:3], [], []),
        ("garbage between", ("3 + 4 = 7", "let me think", *CLEAN[1:]), [1], []),
        ("garbage in place of a step", ("3 + 4 = 7", "so five", "5 * 3 = 15", "\\boxed{15}"), [1, 2], []),
        ("nothing said", ("",), [0], []),
        ("no steps", (), [], []),
    ],
)
def test_by_hand(what, steps, wrong, follow):
    assert judged(*steps) == (wrong, follow), what


@pytest.mark.parametrize(
    "step",
    [
        "3+4=7",
        "3 + 4 = 7.",
        "3 + 4 =7",
        "3 + 4 = 7\n7 - 2 = 5",
        "3 plus 4 = 7",
        "٣ + ٤ = ٧",  # digits, but not ours
        "3\u00a0+ 4 = 7",
        "3 + 00004 = 7",
        f"3 + {'9' * 5000} = 7",
        "\\boxed{7",
        "\\boxed{}",
        "\ud800",
        "\x00",
    ],
)
def test_a_step_is_written_one_way_and_anything_else_does_nothing(step):
    assert judged(step, *CLEAN) == ([0], [])


def test_space_around_a_step_means_nothing():
    assert judged(*(f"\n {step}\n\n" for step in CLEAN)) == ([], [])


def test_totals_may_go_below_zero_in_a_slip():
    chain = Chain("Ann", 3, (("-", 2), ("+", 4)))
    assert judged("3 - 2 = -1", "-1 + 4 = 3", "\\boxed{3}", chain=chain) == ([0], [1, 2])
    assert judged("3 - 2 = -6", "-6 + 4 = -2", "\\boxed{-2}", chain=chain) == ([0], [1, 2])


def test_large_totals_are_followed_too():
    assert judged("3 + 4 = 9999", "9999 - 2 = 9997", "9997 * 3 = 29991") == ([0, 2], [1])  # more than four digits


@pytest.mark.parametrize("answer", ["\\boxed{15}", "\\boxed{ 15 }", "\\boxed{015}"])
def test_the_answer_is_compared_as_the_verifier_does(answer):
    assert judged(*CLEAN[:3], answer) == ([], [])


@pytest.mark.parametrize(
    "answer", ["15", "\\boxed{15} 15 - 9 = 2", "\\boxed{3} \\boxed{15}", "so \\boxed{15}", "\\boxed{15}\n1 + 1 = 3"]
)
def test_nothing_hides_beside_an_answer(answer):
    assert judged(*CLEAN[:3], answer) == ([3], [])


def test_an_operation_met_twice_is_done_in_order():
    chain = Chain("Ann", 3, (("+", 4), ("-", 2), ("+", 4)))
    clean = ("3 + 4 = 7", "7 - 2 = 5", "5 + 4 = 9", "\\boxed{9}")
    assert judged(*clean, chain=chain) == ([], [])
    # Twice at once is too early for the second; what was left out may still come.
    assert judged("3 + 4 = 7", "7 + 4 = 11", "11 - 2 = 9", "9 + 4 = 13", "\\boxed{13}", chain=chain) == ([1], [2, 3, 4])
    assert judged("3 + 4 = 7", "7 + 4 = 11", "\\boxed{11}", chain=chain) == ([1], [2])


texts = st.text(max_size=30)
sums = st.builds("{} {} {} = {}".format, *(st.integers(-30, 30), st.sampled_from("+-*/"), st.integers(), st.integers()))
boxes = st.builds("\\boxed{{{}}}".format, st.one_of(st.integers(), texts))


@given(drawn, st.lists(st.one_of(texts, sums, boxes), max_size=12))
def test_any_steps_are_judged_and_never_both_ways(chain, steps):
    found = check(chain, steps)
    assert not found.wrong & found.follow
    assert found.wrong | found.follow <= set(range(len(steps)))


@given(drawn, st.integers(0, 2**32), st.data())
def test_what_comes_later_changes_no_verdict(chain, seed, data):
    steps = demonstrate(chain, random.Random(seed), Pupil(slip=0.3)).split(SEPARATOR)
    cut = data.draw(st.integers(0, len(steps)))
    whole, part = check(chain, steps), check(chain, steps[:cut])
    assert part.wrong == {index for index in whole.wrong if index < cut}
    assert part.follow == {index for index in whole.follow if index < cut}


@given(drawn, st.data())
def test_one_line_that_does_nothing_costs_one_step(chain, data):
    steps = demonstrate(chain, random.Random(0)).split(SEPARATOR)
    place = data.draw(st.integers(0, len(steps)))
    assert check(chain, [*steps[:place], "hm", *steps[place:]]).wrong == {place}


@pytest.mark.parametrize(
    ("what", "steps", "wrong", "follow"),
    [
        ("a right sum in two", ("3 + 4 ", "= 7", *CLEAN[1:]), [], []),
        ("a right sum in five", ("3 ", "+ ", "4 ", "= ", "7", *CLEAN[1:]), [], []),
        ("two sums in a step", ("3 + 4 = 7\n\n7 - 2 = 5", *CLEAN[2:]), [], []),
        ("all in one step", ("\n\n".join(CLEAN),), [], []),
        ("one and a half", ("3 + 4 = 7\n\n7 - ", "2 = 5\n\n5 * 3 = 15", CLEAN[3]), [], []),
        ("an answer in two", (*CLEAN[:3], "\\boxed{ ", "15 }"), [], []),
        ("one of two sums is wrong", ("3 + 4 = 8\n\n8 - 2 = 6", "6 * 3 = 18", "\\boxed{18}"), [0], [1, 2]),
        ("all in one step, one wrong", ("3 + 4 = 8\n\n8 - 2 = 6\n\n6 * 3 = 18\n\n\\boxed{18}",), [0], []),
        # One mistake, one wrong step: that of the word that makes the sum wrong.
        ("the result", ("3 + 4 ", "= 8", "8 - 2 = 6", "6 * 3 = 18", "\\boxed{18}"), [1], [2, 3, 4]),
        ("the total", ("4 + 4 ", "= 8", "8 - 2 = 6", "6 * 3 = 18", "\\boxed{18}"), [0], [1, 2, 3, 4]),
        ("the sign", ("3 ", "- 4 = ", "-1", "-1 - 2 = -3"), [1], [2, 3]),
        ("the operand", ("3 + ", "5 = ", "8", "8 - 2 = 6"), [1], [2, 3]),
        ("a sum that follows a slip, in two", ("3 + 4 = 8", "8 - ", "2 = 6"), [0], [1, 2]),
        ("the result, after a slip", ("3 + 4 = 8", "8 - 2 ", "= 7"), [0, 2], [1]),
        ("the answer", (*CLEAN[:3], "\\boxed{ ", "14 ", "}"), [5], []),
        ("the early answer", ("3 + 4 = 7", "\\boxed{ 7 ", "}", *CLEAN[1:]), [2], []),
        # What is neither does nothing, in as many steps as it takes.
        ("a sum over a blank line", ("3 + 4", "= 7", *CLEAN), [0, 1], []),
        ("a sum over a blank line in a step", ("3 + 4\n\n= 7", *CLEAN), [0], []),
        ("a sum without an end", ("3 + 4 ", "= 7", "7 - ", *CLEAN[1:]), [2], []),
        ("a sum without an end, in two", (*CLEAN[:3], "15 + ", "1"), [3, 4], []),
        ("a wrong end", ("3 + 4 ", "is 7", *CLEAN), [0, 1], []),
        ("an open box", ("\\boxed{7 ", *CLEAN), [0], []),
        ("words", ("let me ", "think", *CLEAN), [0, 1], []),
        ("words beside a sum", ("so\n\n3 + 4 = 7", *CLEAN[1:]), [0], []),
    ],
)
def test_steps_that_are_cut_otherwise(what, steps, wrong, follow):
    assert judged(*steps) == (wrong, follow), what


def judged_step_by_step(chain, steps):
    """How steps are judged that are each one sum or answer: wrong and follow, as `check` of such steps has them."""
    truth, done = [chain.start, *chain.totals()], len(chain.operations)
    total, least, most, wrong, follow = chain.start, 0, 0, set(), set()
    for index, step in enumerate(map(str.strip, steps)):
        stands, before = None, total
        if found := re.fullmatch(r"(-?\d{1,4}) ([+\-*]) (\d{1,4}) = (-?\d{1,4})", step, re.ASCII):
            start, operation, total = int(found[1]), (found[2], int(found[3])), int(found[4])
            places = [i for i, each in enumerate(chain.operations) if each == operation and i >= least]
            if expected := [i for i in places if i <= most]:
                right = start == before and total == apply(start, *operation)
                stands, least, most = expected[-1] if right else None, expected[-1] + 1, expected[-1] + 1
            else:
                most = places[0] + 1 if places else min(most + 1, done)
        elif most == done and re.fullmatch(r"\\boxed\{[^{}]*\}", step):
            stands = done if compare_numbers(clean(step[7:-1]), str(total)) is True else None
        if stands is None:
            wrong.add(index)
        elif before != truth[stands]:
            follow.add(index)
    return wrong, follow


@given(drawn, st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0, 0.6), st.data())
def test_steps_of_one_sum_each_are_judged_as_ever(chain, seed, slip, stray, data):
    steps = attempt(chain, random.Random(seed), Pupil(MISCONCEPTIONS, slip, slip), stray)
    for odd in data.draw(st.lists(st.one_of(texts, sums, boxes), max_size=3)):
        steps.insert(data.draw(st.integers(0, len(steps))), odd)
    found = check(chain, steps)
    assert (found.wrong, found.follow) == judged_step_by_step(chain, steps)


@given(drawn, st.integers(0, 2**32), st.data())
def test_wherever_a_solution_is_cut_each_mistake_makes_the_step_wrong_that_it_lies_in(chain, seed, data):
    sums = attempt(chain, random.Random(seed), Pupil(slip=0.2), 0.2)
    words = [(place, word) for place, each in enumerate(sums) for word in each.split()]
    cuts = data.draw(st.sets(st.integers(1, len(words) - 1)))
    bounds = [0, *sorted(cuts), len(words)]
    steps = [words[start:end] for start, end in pairwise(bounds)]
    ends = [" " if step[-1][0] == more[0][0] else "" for step, more in pairwise(steps)]
    said = ["\n\n".join(" ".join(w for _, w in part) for _, part in groupby(step, itemgetter(0))) for step in steps]
    found = check(chain, [text + end for text, end in zip(said, [*ends, ""], strict=True)])
    whole = check(chain, sums)
    held = {place: [index for index, step in enumerate(steps) if place in dict(step)] for place in range(len(sums))}
    # Each wrong sum makes one of its steps wrong, and no step is wrong without one.
    assert all(found.wrong & {*held[place]} for place in whole.wrong)
    assert all(whole.wrong & {*dict(steps[index])} for index in found.wrong)
    assert len(found.wrong) <= len(whole.wrong)
    # What follows a slip does so in every one of its steps, but for those that are wrong.
    assert all({*held[place]} <= found.follow | found.wrong for place in whole.follow)


def test_a_review_says_of_each_step_what_was_due_given_the_claims_before_it():
    steps = ["3 + 4 = 8", "8 - 2 = 6", "6 + 3 = 9", "\\boxed{18}"]
    assert review(CHAIN, steps) == [
        ("3 + 4 = 7", True),
        ("8 - 2 = 6", False),
        ("6 * 3 = 18", True),
        ("\\boxed{9}", True),
    ]


@given(drawn, st.integers(0, 2**32), st.floats(0, 0.6), st.floats(0, 0.6))
def test_a_review_calls_wrong_what_the_checker_does_and_repeats_what_is_right(chain, seed, slip, stray):
    steps = attempt(chain, random.Random(seed), Pupil(MISCONCEPTIONS, slip, slip), stray)
    found = review(chain, steps)
    assert {index for index, (_, wrong) in enumerate(found) if wrong} == check(chain, steps).wrong
    assert all(due == step for (due, wrong), step in zip(found, steps, strict=True) if not wrong)
    assert len(steps) == len(found)


@given(drawn, st.integers(0, 2**32))
def test_an_attempt_that_never_errs_is_the_demonstration(chain, seed):
    assert attempt(chain, random.Random(seed), Pupil(), 0) == demonstrate(chain, random.Random(0)).split(SEPARATOR)


def test_attempts_err_in_every_way():
    rng = random.Random(0)
    chains = [draw_chain(rng, (4, 6)) for _ in range(400)]
    tries = [(chain, attempt(chain, rng, Pupil(), 0.3)) for chain in chains]
    assert any(len(steps) < len(chain.operations) + 1 for chain, steps in tries)
    assert any(len(steps) > len(chain.operations) + 1 for chain, steps in tries)
    assert all(len(steps) <= 4 * len(chain.operations) for chain, steps in tries)
    wrong = [len(check(chain, steps).wrong) / len(steps) for chain, steps in tries]
    assert 0.15 < sum(wrong) / len(wrong) < 0.6
